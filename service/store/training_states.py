"""Queries on training states: the optimizer's state after an epoch, for resuming a run from it.

A run has the state of its last epoch, and those of earlier epochs that its spec retains.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from service.store.rows import TrainingStateRow
from service.store.run_status import is_visible


@dataclass(frozen=True)
class StoredTrainingState:
    """Identity of a training state and the key of its blob."""

    epoch: int
    sha256: str
    bytes: int
    blob_key: str


def state_key(run_id: int, epoch: int, *, is_retained: bool = False) -> str:
    """Blob key of the state after that epoch.

    States that are replaced have two keys in alternation: an external blob is replaced before the
    transaction commits, and must not be the one that the committed row names.
    """
    name = f"epochs/{epoch}" if is_retained else epoch % 2
    return f"runs/{run_id}/states/{name}.safetensors"


def add(
    session: Session,
    run_id: int,
    state: StoredTrainingState,
    is_retained: Callable[[int], bool] = lambda _: False,
) -> str | None:
    """Add the run's last state, in place of the previous one unless that epoch is retained.

    Returns the blob key of the previous state if it is no longer in use.
    """
    previous = get(session, run_id)
    session.merge(TrainingStateRow(run_id=run_id, **vars(state)))
    if previous is None or previous.epoch == state.epoch or is_retained(previous.epoch):
        return None
    outdated = (TrainingStateRow.run_id == run_id, TrainingStateRow.epoch == previous.epoch)
    session.execute(delete(TrainingStateRow).where(*outdated))
    return previous.blob_key if previous.blob_key != state.blob_key else None


def get(session: Session, run_id: int) -> StoredTrainingState | None:
    """The last training state of a run, if it has one."""
    query = _of_run(run_id).order_by(TrainingStateRow.epoch.desc()).limit(1)
    row = session.scalar(query)
    return None if row is None else _state(row)


def list_states(session: Session, run_id: int) -> list[StoredTrainingState]:
    """All training states of a run, by epoch."""
    query = _of_run(run_id).order_by(TrainingStateRow.epoch)
    return [_state(row) for row in session.scalars(query)]


def _of_run(run_id: int) -> Select[TrainingStateRow]:
    return select(TrainingStateRow).where(TrainingStateRow.run_id == run_id, is_visible(run_id))


def _state(row: TrainingStateRow) -> StoredTrainingState:
    return StoredTrainingState(row.epoch, row.sha256, row.bytes, row.blob_key)
