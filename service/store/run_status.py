"""The statuses of runs, and the condition that hides some runs."""

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute, aliased

from service.store.rows import RunRow

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = STATUSES = (
    "queued",
    "running",
    "succeeded",
    "failed",
    "cancelled",
)
TERMINAL = (SUCCEEDED, FAILED, CANCELLED)

DELETING = "deleting"
"""Of a run that was deleted and whose rows and blobs are not freed yet."""

IMPORTING = "importing"
"""Of a run whose rows and blobs are still being stored by an import."""

HIDDEN = (DELETING, IMPORTING)
"""What no client sees: such runs are outside STATUSES, and no change of status applies to them."""


def is_visible(run_id: int | InstrumentedAttribute[int]) -> ColumnElement[bool]:
    """Whether the run exists and is not hidden: a condition for every query on a run's rows."""
    run = aliased(RunRow)
    return select(run.id).where(run.id == run_id, run.status.not_in(HIDDEN)).exists()
