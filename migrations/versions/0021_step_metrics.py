"""Metrics of recorded runs that come at steps, or after their epoch

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # Not in batch mode: SQLite adds a column that may be null in place, whatever the table's size.
    op.add_column("epochs", sa.Column("late_metrics", sa.JSON(), nullable=True))
    op.create_table(
        "step_metrics",
        sa.Column("run_id", IDENTITY, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("points", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "epoch"],
            ["epochs.run_id", "epochs.epoch"],
            name=op.f("fk_step_metrics_run_id_epochs"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "epoch", "name", name=op.f("pk_step_metrics")),
    )


def downgrade() -> None:
    op.drop_table("step_metrics")
    op.drop_column("epochs", "late_metrics")
