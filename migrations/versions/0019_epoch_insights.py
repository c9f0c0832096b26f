"""Measures of epochs, and how their training and test images were rated

Revision ID: 0019
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Epochs of earlier versions have none: how images were rated was not recorded.
    op.create_table(
        "epoch_insights",
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("mistakes", sa.LargeBinary(), nullable=False),
        sa.Column("presentations", sa.LargeBinary(), nullable=True),
        sa.Column("class_means", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id", "epoch"],
            ["epochs.run_id", "epochs.epoch"],
            name=op.f("fk_epoch_insights_run_id_epochs"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "epoch", name=op.f("pk_epoch_insights")),
    )


def downgrade() -> None:
    op.drop_table("epoch_insights")
