"""The statuses of runs, and the condition that hides some runs."""

from enum import StrEnum

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute, aliased

from service.store.rows import RunRow


class RunStatus(StrEnum):
    """Status of a run, as clients see it."""

    QUEUED = "queued"
    RUNNING = "running"
    LOST = "lost"  # only of a recorded run: its recorder sends no heartbeats
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RunSource(StrEnum):
    """Where a run is trained."""

    TRAINED = "trained"  # by a worker of the service
    RECORDED = "recorded"  # elsewhere: a recorder sends its epochs


class RunPhase(StrEnum):
    """What the worker of a run does now."""

    STARTING = "starting"  # also before it has claimed the run
    LOADING = "loading"  # the dataset
    TRAINING = "training"
    EVALUATING = "evaluating"  # on the test images
    RECORDING = "recording"  # the checkpoint and the maps of the epoch


TERMINAL_STATUSES = (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED)


class HiddenStatus(StrEnum):
    """Status of a run that no client sees. Only `imports` and `deleted_runs` read or change it."""

    DELETING = "deleting"  # deleted; its rows and blobs are not freed yet
    IMPORTING = "importing"  # an import is still storing its rows and blobs


HIDDEN_STATUSES = tuple(HiddenStatus)


def is_visible(run_id: int | InstrumentedAttribute[int]) -> ColumnElement[bool]:
    """SQL condition: the run exists and is not hidden. Part of every query on a run's rows."""
    run = aliased(RunRow)
    return select(run.id).where(run.id == run_id, run.status.not_in(HIDDEN_STATUSES)).exists()
