"""Queries on epochs and their checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple, cast

from sqlalchemy import ColumnElement, CursorResult, Select, func, select, update
from sqlalchemy.orm import Session

from service.errors import EpochNotFound
from service.store import events, runs
from service.store.rows import CheckpointRow, EpochRow
from service.store.run_status import is_visible


@dataclass(frozen=True)
class EpochMetrics:
    """Losses in nats, accuracies in 0..1, and the seconds that the epoch took.

    A recorded epoch has those that its recorder sent, and `metrics` has all of them by name.
    """

    train_loss: float | None
    train_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    per_class_accuracy: list[float]
    learning_rate: float | None
    seconds: float | None
    metrics: dict[str, float | None] | None = None
    config_changes: dict[str, Any] | None = None
    late_metrics: list[str] | None = None
    """Names of the `metrics` that came after the epoch."""


@dataclass(frozen=True)
class Checkpoint:
    """Identity of a checkpoint and the key of its blob."""

    sha256: str
    bytes: int
    blob_key: str


@dataclass(frozen=True)
class Epoch:
    """An epoch and its checkpoint."""

    run_id: int
    epoch: int
    metrics: EpochMetrics
    checkpoint: Checkpoint
    created_at: datetime
    quarantine_reason: str | None = None  # None: its checkpoint can be used


def add(
    session: Session, run_id: int, epoch: int, metrics: EpochMetrics, checkpoint: Checkpoint
) -> None:
    """Insert an epoch, its checkpoint and its event."""
    session.add(EpochRow(run_id=run_id, epoch=epoch, created_at=datetime.now(UTC), **vars(metrics)))
    session.flush()
    session.add(CheckpointRow(run_id=run_id, epoch=epoch, **vars(checkpoint)))
    session.flush()
    events.add_epoch(session, run_id, epoch)


def get(session: Session, run_id: int, epoch: int) -> Epoch:
    """One epoch. Raises RunNotFound or EpochNotFound."""
    row = session.execute(_with_checkpoints(run_id).where(EpochRow.epoch == epoch)).one_or_none()
    if row is None:
        raise EpochNotFound(run_id, epoch, runs.get(session, run_id).epochs_done)
    return epoch_from_columns(row)


def list_epochs(
    session: Session,
    run_id: int,
    *,
    numbers: list[int] | None = None,
    after: int = -1,
    limit: int | None = None,
) -> list[Epoch]:
    """Epochs in order: all, those of `numbers`, or the next `limit`. Raises RunNotFound."""
    query = _with_checkpoints(run_id).where(EpochRow.epoch > after).order_by(EpochRow.epoch)
    if numbers is not None:
        query = query.where(EpochRow.epoch.in_(numbers))
    rows = [epoch_from_columns(row) for row in session.execute(query.limit(limit))]
    if not rows:
        runs.get(session, run_id)
    return rows


def recording_intervals(session: Session, run_id: int, last_epoch: int, count: int) -> list[float]:
    """Seconds between the recordings of consecutive epochs: the last `count` up to `last_epoch`.

    Without those that the clock makes negative.
    """
    query = (
        select(EpochRow.created_at)
        .where(EpochRow.run_id == run_id, EpochRow.epoch <= last_epoch, is_visible(run_id))
        .order_by(EpochRow.epoch.desc())
        .limit(count + 1)
    )
    intervals = [later - earlier for later, earlier in pairwise(session.scalars(query))]
    return [seconds for one in intervals if (seconds := one.total_seconds()) > 0]


def set_metrics(session: Session, run_id: int, epoch: int, metrics: EpochMetrics) -> None:
    """Change the metrics of an epoch."""
    session.execute(
        update(EpochRow)
        .where(EpochRow.run_id == run_id, EpochRow.epoch == epoch)
        .values(**vars(metrics))
        .execution_options(synchronize_session=False)
    )


def restore(session: Session, epoch: Epoch) -> None:
    """Insert an epoch of a run that was trained elsewhere, with its time, without an event."""
    key = {"run_id": epoch.run_id, "epoch": epoch.epoch}
    session.add(EpochRow(**key, created_at=epoch.created_at, **vars(epoch.metrics)))
    session.flush()
    session.add(CheckpointRow(**key, **vars(epoch.checkpoint)))
    session.flush()


def quarantine(session: Session, run_id: int, epoch: int, reason: str) -> bool:
    """Quarantine an epoch's checkpoint; False if it already is, or if there is no such epoch."""
    return _change(
        session,
        [CheckpointRow.quarantine_reason.is_(None)],
        (run_id, epoch),
        quarantine_reason=reason,
        quarantined_at=datetime.now(UTC),
    )


def release_quarantine(session: Session, run_id: int, epoch: int) -> bool:
    """End the quarantine of an epoch's checkpoint; False if it was not quarantined."""
    return _change(
        session,
        [CheckpointRow.quarantine_reason.is_not(None)],
        (run_id, epoch),
        quarantine_reason=None,
        quarantined_at=None,
    )


class EpochTotals(NamedTuple):
    """Totals over all visible runs."""

    epochs: int
    quarantined_epochs: int
    checkpoint_bytes: int


def count_totals(session: Session) -> EpochTotals:
    """Totals over all visible runs."""
    query = select(
        func.count(),
        func.count(CheckpointRow.quarantine_reason),
        func.coalesce(func.sum(CheckpointRow.bytes), 0),
    ).where(is_visible(CheckpointRow.run_id))
    return EpochTotals(*map(int, session.execute(query).one()))


def _change(
    session: Session, conditions: list[ColumnElement[bool]], key: tuple[int, int], **values: Any
) -> bool:
    run_id, epoch = key
    result = session.execute(
        update(CheckpointRow)
        .where(
            CheckpointRow.run_id == run_id,
            CheckpointRow.epoch == epoch,
            is_visible(run_id),
            *conditions,
        )
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    return bool(cast("CursorResult[Any]", result).rowcount)


# Columns, not ORM entities: a run's page reads hundreds of epochs in one request.
EPOCH_COLUMNS = (
    EpochRow.run_id,
    EpochRow.epoch,
    *(getattr(EpochRow, field.name) for field in fields(EpochMetrics)),
    CheckpointRow.sha256,
    CheckpointRow.bytes,
    CheckpointRow.blob_key,
    EpochRow.created_at,
    CheckpointRow.quarantine_reason,
)


CHECKPOINT_OF_EPOCH = (CheckpointRow.run_id == EpochRow.run_id) & (
    CheckpointRow.epoch == EpochRow.epoch
)


def _with_checkpoints(run_id: int) -> Select[*tuple[Any, ...]]:
    return (
        select(*EPOCH_COLUMNS)
        .join(CheckpointRow, CHECKPOINT_OF_EPOCH)
        .where(EpochRow.run_id == run_id, is_visible(run_id))
    )


def epoch_from_columns(columns: Sequence[Any]) -> Epoch:
    """The epoch of a row of EPOCH_COLUMNS."""
    run_id, epoch, *metrics, sha256, size, key, created_at, quarantine_reason = columns
    checkpoint = Checkpoint(sha256, size, key)
    return Epoch(run_id, epoch, EpochMetrics(*metrics), checkpoint, created_at, quarantine_reason)
