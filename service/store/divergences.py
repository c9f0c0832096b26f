"""Queries on divergences: the last optimizer steps of runs that diverged."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store.predictions import FLOAT32_LE
from service.store.rows import DivergenceRow
from service.store.run_status import is_visible


@dataclass(frozen=True)
class Divergence:
    """Losses and gradient norms of consecutive steps, up to the one at which the run diverged.

    A norm is NaN where it was not measured, and either is infinite or NaN where it was so.
    """

    epoch: int
    first_step: int  # 1 for the first step of the epoch
    losses: Sequence[float]
    gradient_norms: Sequence[float]


def add(session: Session, run_id: int, divergence: Divergence) -> None:
    """Insert the divergence of a run, or replace the one of an earlier attempt."""
    row = DivergenceRow(
        run_id=run_id,
        epoch=divergence.epoch,
        first_step=divergence.first_step,
        losses=_to_bytes(divergence.losses),
        gradient_norms=_to_bytes(divergence.gradient_norms),
    )
    session.merge(row)


def get(session: Session, run_id: int) -> Divergence | None:
    """The divergence of a run, if it was recorded."""
    query = select(DivergenceRow).where(DivergenceRow.run_id == run_id, is_visible(run_id))
    row = session.scalar(query)
    if row is None:
        return None
    return Divergence(row.epoch, row.first_step, _to_list(row.losses), _to_list(row.gradient_norms))


def _to_bytes(values: Sequence[float]) -> bytes:
    with np.errstate(over="ignore"):  # what is too large for float32 is infinite
        return np.asarray(values, FLOAT32_LE).tobytes()


def _to_list(data: bytes) -> list[float]:
    values: list[float] = np.frombuffer(data, FLOAT32_LE).tolist()
    return values
