"""The training state of a run's last epoch: what the run goes on from, kept for no other epoch."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store.rows import TrainingStateRow
from service.store.run_status import is_visible


@dataclass(frozen=True)
class StoredTrainingState:
    """Identity of a training state, and where its bytes are."""

    epoch: int
    sha256: str
    bytes: int
    blob_key: str


def state_key(run_id: int, epoch: int) -> str:
    """Where the state of that epoch is kept.

    Two places in turn: a file is replaced before the rows that name it are committed, so the one
    that the committed row names must stay.
    """
    return f"runs/{run_id}/states/{epoch % 2}.safetensors"


def replace(session: Session, run_id: int, state: StoredTrainingState) -> str | None:
    """The run's state from now on; the key of the one before, which nothing names any more."""
    before = get(session, run_id)
    session.merge(TrainingStateRow(run_id=run_id, **vars(state)))
    return before.blob_key if before and before.blob_key != state.blob_key else None


def get(session: Session, run_id: int) -> StoredTrainingState | None:
    """The run's state, if it has one."""
    query = select(TrainingStateRow).where(TrainingStateRow.run_id == run_id, is_visible(run_id))
    row = session.scalar(query)
    return StoredTrainingState(row.epoch, row.sha256, row.bytes, row.blob_key) if row else None
