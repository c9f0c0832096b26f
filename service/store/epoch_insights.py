"""Queries on insights of epochs: measures, presentations, mistakes and class-mean maps."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store.epoch_insight_rows import EpochInsightRow
from service.store.insert_missing import insert_missing
from service.store.run_status import is_visible


@dataclass(frozen=True)
class StoredInsight:
    """The insight of an epoch. The bytes are those of `core/insight/epoch_insight.py`."""

    run_id: int
    epoch: int
    document: dict[str, Any]
    mistakes: bytes
    presentations: bytes | None  # None for epoch 0
    class_means: bytes | None  # None: not measured


_COLUMNS = (
    EpochInsightRow.run_id,
    EpochInsightRow.epoch,
    EpochInsightRow.document,
    EpochInsightRow.mistakes,
    EpochInsightRow.presentations,
    EpochInsightRow.class_means,
)


def add_missing(session: Session, insight: StoredInsight) -> None:
    """Insert the insight unless the epoch has one."""
    insert_missing(session, EpochInsightRow, [vars(insight)])


def get(session: Session, run_id: int, epoch: int) -> StoredInsight | None:
    """The insight of an epoch; None if none was recorded, as by earlier versions."""
    query = select(*_COLUMNS).where(
        EpochInsightRow.run_id == run_id, EpochInsightRow.epoch == epoch, is_visible(run_id)
    )
    row = session.execute(query).one_or_none()
    return None if row is None else StoredInsight(*row)


def list_all(session: Session, run_id: int) -> list[StoredInsight]:
    """The insights of a run with all their bytes, by epoch."""
    query = select(*_COLUMNS).where(EpochInsightRow.run_id == run_id, is_visible(run_id))
    return [StoredInsight(*row) for row in session.execute(query.order_by(EpochInsightRow.epoch))]


def list_documents(session: Session, run_id: int) -> list[tuple[int, dict[str, Any]]]:
    """The documents of a run, without bytes, by epoch."""
    query = select(EpochInsightRow.epoch, EpochInsightRow.document).where(
        EpochInsightRow.run_id == run_id, is_visible(run_id)
    )
    return [(row[0], row[1]) for row in session.execute(query.order_by(EpochInsightRow.epoch))]
