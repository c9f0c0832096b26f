"""The networks of runs, trained ones included, in a table of that name

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _move_rows("recordings", "run_networks")


def downgrade() -> None:
    _move_rows("run_networks", "recordings")


def _move_rows(source: str, destination: str) -> None:
    """Into a new table, because SQLite cannot rename the constraints of an existing one."""
    new_table = op.create_table(
        destination,
        sa.Column("run_id", IDENTITY, nullable=False),
        sa.Column("network_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["runs.id"],
            name=op.f(f"fk_{destination}_run_id_runs"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["network_id"], ["networks.id"], name=op.f(f"fk_{destination}_network_id_networks")
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f(f"pk_{destination}")),
    )
    op.create_index(op.f(f"ix_{destination}_network_id"), destination, ["network_id"])
    rows = sa.select(sa.table(source, sa.column("run_id"), sa.column("network_id")))
    op.execute(new_table.insert().from_select(["run_id", "network_id"], rows))
    op.drop_table(source)
