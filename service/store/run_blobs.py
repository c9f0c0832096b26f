"""The blobs that belong to runs. A new type is a line in the table."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from service.store.rows import CheckpointRow, TrainingStateRow

CHECKPOINT, TRAINING_STATE = "checkpoint", "training-state"

BlobRowType = type[CheckpointRow] | type[TrainingStateRow]

ROWS_BY_TYPE: dict[str, BlobRowType] = {CHECKPOINT: CheckpointRow, TRAINING_STATE: TrainingStateRow}
"""Rows that name blobs, by type: each has run_id, epoch, sha256, bytes and blob_key."""


@dataclass(frozen=True)
class RunBlob:
    """A blob and its identity, from the row that names it."""

    type: str
    run_id: int
    epoch: int
    sha256: str
    bytes: int
    key: str


def list_run_blobs(session: Session, run_id: int | None = None) -> Iterator[RunBlob]:
    """Blobs of a run, or of all runs, deleted ones included, by type, run and epoch."""
    for blob_type, table in ROWS_BY_TYPE.items():
        query = select(
            table.run_id, table.epoch, table.sha256, table.bytes, table.blob_key
        ).order_by(table.run_id, table.epoch)
        if run_id is not None:
            query = query.where(table.run_id == run_id)
        for row in session.execute(query).all():
            yield RunBlob(blob_type, *row)


def total(table: BlobRowType) -> ColumnElement[Any]:
    """SQL expression of the total bytes of a type of blob."""
    return func.coalesce(func.sum(table.bytes), 0)
