"""Quarantine of checkpoints, and the origin of imported runs

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not in batch mode: SQLite adds a column that may be null in place, whatever the table's size.
    op.add_column("checkpoints", sa.Column("quarantined", sa.String(length=16), nullable=True))
    op.add_column(
        "checkpoints", sa.Column("quarantined_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column("runs", sa.Column("origin", sa.JSON(), nullable=True))


def downgrade() -> None:
    # In place too: a batch would drop the table of runs, and all that refers to it with it.
    op.drop_column("runs", "origin")
    op.drop_column("checkpoints", "quarantined_at")
    op.drop_column("checkpoints", "quarantined")
