"""The statuses of runs, and the condition that hides deleted ones."""

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute, aliased

from service.store.tables import RunRow

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = STATUSES = (
    "queued",
    "running",
    "succeeded",
    "failed",
    "cancelled",
)
TERMINAL = (SUCCEEDED, FAILED, CANCELLED)

DELETING = "deleting"
"""Of a run that was deleted and whose rows and blobs are not freed yet. No client sees it."""


def not_deleted(run_id: int | InstrumentedAttribute[int]) -> ColumnElement[bool]:
    """Whether the run exists and is not deleted: a condition for every query on a run's rows."""
    run = aliased(RunRow)
    return select(run.id).where(run.id == run_id, run.status != DELETING).exists()
