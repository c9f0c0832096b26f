"""Leases and training states of runs, so that a run can resume after its worker is lost

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
COUNTERS = ("heartbeats", "strikes")


def upgrade() -> None:
    op.add_column("runs", sa.Column("lease_owner", sa.String(length=64), nullable=True))
    for name in COUNTERS:
        op.add_column(
            "runs", sa.Column(name, sa.Integer(), nullable=False, server_default=sa.text("0"))
        )
    op.create_table(
        "training_states",
        sa.Column("run_id", IDENTITY, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("blob_key", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_training_states_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_training_states")),
    )


def downgrade() -> None:
    op.drop_table("training_states")
    for name in ("lease_owner", *COUNTERS):
        op.drop_column("runs", name)
