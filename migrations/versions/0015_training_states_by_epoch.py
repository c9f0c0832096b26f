"""Several training states of a run, by epoch

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

PRIMARY_KEY = "pk_training_states"

states = sa.table("training_states", sa.column("run_id"), sa.column("epoch"))


def upgrade() -> None:
    _replace_primary_key(["run_id", "epoch"])


def downgrade() -> None:
    later_states = states.alias()
    has_later = sa.exists().where(
        later_states.c.run_id == states.c.run_id, later_states.c.epoch > states.c.epoch
    )
    op.execute(sa.delete(states).where(has_later))
    _replace_primary_key(["run_id"])


def _replace_primary_key(columns: list[str]) -> None:
    # A small table that no other refers to, so that SQLite may copy it.
    with op.batch_alter_table("training_states") as table:
        table.drop_constraint(PRIMARY_KEY, type_="primary")
        table.create_primary_key(PRIMARY_KEY, columns)
