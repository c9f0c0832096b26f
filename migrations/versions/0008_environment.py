"""Environment of the training of runs

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Runs that began before have none: theirs is not known.
    op.add_column("runs", sa.Column("environment", sa.JSON(none_as_null=True), nullable=True))
    op.add_column(
        "runs", sa.Column("environment_changes", sa.JSON(none_as_null=True), nullable=True)
    )


def downgrade() -> None:
    op.drop_column("runs", "environment_changes")
    op.drop_column("runs", "environment")
