"""What the worker of a run does

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("phase", sa.String(length=16), nullable=True))


def downgrade() -> None:
    op.drop_column("runs", "phase")
