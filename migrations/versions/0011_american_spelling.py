"""The target `centred` is `centered`, and the measures `randomised-*` are `randomized-*`

Revision ID: 0011
Revises: 0010
"""

import hashlib
from collections.abc import Iterable

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

BATCH_ROWS = 1_000

TARGET = ("/centred", "/centered")
"""In the text of a method: `layer-cam/centred?steps=4`."""

IN_LINKS = (
    TARGET,
    ("%2Fcentred", "%2Fcentered"),
    ("target=centred", "target=centered"),
    ("measure=randomised-", "measure=randomized-"),
)
"""In the link that a job was requested by."""

heatmaps = sa.table(
    "heatmaps",
    *map(sa.column, ("id", "run_id", "epoch", "image", "layer", "method", "class_index", "etag")),
)
checkpoints = sa.table("checkpoints", *map(sa.column, ("run_id", "epoch", "sha256")))
runs = sa.table("runs", sa.column("id"), sa.column("spec", sa.JSON()))
jobs = sa.table("jobs", sa.column("request"))


def upgrade() -> None:
    _rename_methods(*TARGET)
    _rename_in_links(IN_LINKS)


def downgrade() -> None:
    _rename_methods(*reversed(TARGET))
    _rename_in_links((new_name, old_name) for old_name, new_name in IN_LINKS)


def _rename_methods(old_name: str, new_name: str) -> None:
    bind = op.get_bind()
    rows = (
        sa.select(heatmaps, checkpoints.c.sha256, runs.c.spec)
        .join_from(heatmaps, runs, runs.c.id == heatmaps.c.run_id)
        .join(
            checkpoints,
            sa.and_(
                checkpoints.c.run_id == heatmaps.c.run_id,
                checkpoints.c.epoch == heatmaps.c.epoch,
            ),
        )
        .where(heatmaps.c.method.contains(old_name, autoescape=True))
        .order_by(heatmaps.c.id)
        .limit(BATCH_ROWS)
    )
    # A renamed row is not selected again.
    while batch := bind.execute(rows).all():
        bind.execute(
            sa.update(heatmaps)
            .where(heatmaps.c.id == sa.bindparam("row_id"))
            .values(method=sa.bindparam("renamed"), etag=sa.bindparam("identity")),
            [
                {
                    "row_id": row.id,
                    "renamed": (method := row.method.replace(old_name, new_name)),
                    "identity": _identity(row, method),
                }
                for row in batch
            ],
        )


def _identity(row: sa.Row, method: str) -> str:
    """The hash of what the map depends on, as of engine 1."""
    dataset = row.spec["dataset"]
    parts = (1, row.sha256, dataset, row.image, row.layer, method, row.class_index)
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def _rename_in_links(names: Iterable[tuple[str, str]]) -> None:
    for old_name, new_name in names:
        op.execute(
            sa.update(jobs)
            .where(jobs.c.request.contains(old_name, autoescape=True))
            .values(request=sa.func.replace(jobs.c.request, old_name, new_name))
        )
