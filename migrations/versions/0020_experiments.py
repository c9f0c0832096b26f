"""Experiments, and notes of runs

Revision ID: 0020
Revises: 0019
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FOREIGN_KEY = "fk_runs_experiment_id_experiments"


def upgrade() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", IDENTITY, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiments")),
        sqlite_autoincrement=True,
    )
    # As SQL: Alembic adds no column with a foreign key to a table of SQLite without copying it.
    column_type = IDENTITY.compile(dialect=op.get_bind().dialect)
    op.execute(
        f"ALTER TABLE runs ADD COLUMN experiment_id {column_type} "
        f"CONSTRAINT {FOREIGN_KEY} REFERENCES experiments (id)"
    )
    op.create_index(op.f("ix_runs_experiment_id"), "runs", ["experiment_id"])
    op.add_column("runs", sa.Column("experiment_position", sa.Integer(), nullable=True))
    op.add_column("runs", sa.Column("notes", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("runs", "notes")
    op.drop_column("runs", "experiment_position")
    op.drop_index(op.f("ix_runs_experiment_id"), "runs")
    op.drop_column("runs", "experiment_id")
    op.drop_table("experiments")
