"""Longer names of methods with target and parameters, and of combinations of layers

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("heatmaps") as table:
        for name in ("method", "layer"):
            table.alter_column(name, existing_type=sa.String(64), type_=sa.String(200))


def downgrade() -> None:
    with op.batch_alter_table("heatmaps") as table:
        for name in ("method", "layer"):
            table.alter_column(name, existing_type=sa.String(200), type_=sa.String(64))
