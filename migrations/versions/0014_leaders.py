"""The process that dispatches runs, elected among those of the database

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "leaders",
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=True),
        sa.Column("heartbeats", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("role", name=op.f("pk_leaders")),
    )
    op.add_column("runs", sa.Column("dispatcher", sa.String(length=64), nullable=True))


def downgrade() -> None:
    op.drop_column("runs", "dispatcher")
    op.drop_table("leaders")
