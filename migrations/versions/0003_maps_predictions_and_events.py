"""Store map levels, predictions and events

Revision ID: 0003
Revises: 0002
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("heatmaps") as table:
        table.add_column(sa.Column("levels", sa.LargeBinary(), nullable=True))
        table.add_column(sa.Column("height", sa.Integer(), nullable=True))
        table.add_column(sa.Column("width", sa.Integer(), nullable=True))
    op.create_table(
        "predictions",
        sa.Column("run_id", IDENTITY, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("image", sa.String(length=80), nullable=False),
        sa.Column("probabilities", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "epoch"],
            ["epochs.run_id", "epochs.epoch"],
            name=op.f("fk_predictions_run_id_epoch_epochs"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "epoch", "image", name=op.f("pk_predictions")),
    )
    events = op.create_table(
        "events",
        sa.Column("run_id", IDENTITY, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_events_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f("pk_events")),
    )
    _add_events_of_existing_runs(events)


def _add_events_of_existing_runs(events: sa.Table) -> None:
    """Add the epochs of each run and then its current status as events."""
    bind = op.get_bind()
    runs = sa.table("runs", sa.column("id"), sa.column("status"))
    epochs = sa.table("epochs", sa.column("run_id"), sa.column("epoch"))
    created_at = datetime.now(UTC)
    for run_id, status in bind.execute(sa.select(runs.c.id, runs.c.status)).all():
        epoch_numbers = bind.scalars(
            sa.select(epochs.c.epoch).where(epochs.c.run_id == run_id).order_by(epochs.c.epoch)
        )
        run_events = [("epoch", {"epoch": epoch}) for epoch in epoch_numbers]
        run_events.append(("status", {"status": status}))
        bind.execute(
            sa.insert(events),
            [
                {
                    "run_id": run_id,
                    "number": number,
                    "kind": event_type,
                    "data": data,
                    "created_at": created_at,
                }
                for number, (event_type, data) in enumerate(run_events, start=1)
            ],
        )


def downgrade() -> None:
    op.drop_table("events")
    op.drop_table("predictions")
    with op.batch_alter_table("heatmaps") as table:
        for name in ("levels", "height", "width"):
            table.drop_column(name)
