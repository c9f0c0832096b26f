"""Queries on training states: the optimizer's state after a run's last epoch, for resuming it."""

from dataclasses import dataclass

from sqlalchemy import select
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


def state_key(run_id: int, epoch: int) -> str:
    """Blob key of the state after that epoch.

    Two keys in alternation: an external blob is replaced before the transaction commits, and must
    not be the one that the committed row names.
    """
    return f"runs/{run_id}/states/{epoch % 2}.safetensors"


def replace(session: Session, run_id: int, state: StoredTrainingState) -> str | None:
    """Replace the run's state; the blob key of the previous one, if it is no longer in use."""
    previous = get(session, run_id)
    session.merge(TrainingStateRow(run_id=run_id, **vars(state)))
    return previous.blob_key if previous and previous.blob_key != state.blob_key else None


def get(session: Session, run_id: int) -> StoredTrainingState | None:
    """Training state of a run, if it has one."""
    query = select(TrainingStateRow).where(TrainingStateRow.run_id == run_id, is_visible(run_id))
    row = session.scalar(query)
    return StoredTrainingState(row.epoch, row.sha256, row.bytes, row.blob_key) if row else None
