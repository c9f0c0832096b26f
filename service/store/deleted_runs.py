"""Deleted runs, which are hidden: their rows and blobs are deleted in bounded transactions.

The run's own row is deleted last, so that an interrupted deletion can continue.
"""

from typing import Any, cast

from sqlalchemy import CursorResult, delete, func, inspect, select, tuple_, union_all
from sqlalchemy.orm import Session

from service.store import images, run_blobs, training_states
from service.store.blobs import Blobs
from service.store.program_rows import RunNetworkRow
from service.store.rows import (
    Base,
    DivergenceRow,
    EpochRow,
    EventRow,
    ImageRow,
    ProbeRow,
    RunRow,
    TagRow,
)
from service.store.rows_of_epochs import ROWS_OF_EPOCHS
from service.store.run_status import HiddenStatus

PAGE_BYTES = 4096
"""Size of a SQLite page. Deleting a row touches about one, a blob one per PAGE_BYTES."""

# Rows are deleted before those that they refer to.
_REFERRED = (DivergenceRow, EpochRow, EventRow, ProbeRow, RunNetworkRow, TagRow)


def list_ids(session: Session) -> list[int]:
    """Ids of deleted runs that still have rows, oldest first."""
    query = select(RunRow.id).where(RunRow.status == HiddenStatus.DELETING).order_by(RunRow.id)
    return list(session.scalars(query))


def blob_bytes(session: Session) -> int:
    """Total bytes of blobs of deleted runs that are not freed yet."""
    deleted = select(RunRow.id).where(RunRow.status == HiddenStatus.DELETING)
    totals = (
        select(func.coalesce(func.sum(table.bytes), 0)).where(table.run_id.in_(deleted))
        for table in run_blobs.ROWS_BY_TYPE.values()
    )
    return sum(session.scalar(total) or 0 for total in totals)


def free_batch(session: Session, blobs: Blobs, run_id: int, pages: int) -> bool:
    """Delete rows or blobs of a deleted run worth up to `pages` pages, at least one.

    False if only the run's own row remains, or if another server is deleting it.
    """
    return _lock(session, run_id) and (
        any(_free_rows(session, table, run_id, pages) for table in ROWS_OF_EPOCHS)
        or _free_blobs(session, blobs, run_id, pages * PAGE_BYTES)
        or any(_free_rows(session, table, run_id, pages) for table in _REFERRED)
    )


def delete_run(session: Session, blobs: Blobs, run_id: int) -> None:
    """Delete the row of a deleted run, unless rows that refer to it remain."""
    of_run = (
        select(table.run_id).where(table.run_id == run_id)
        for table in (*ROWS_OF_EPOCHS, *run_blobs.ROWS_BY_TYPE.values(), *_REFERRED)
    )
    if not _lock(session, run_id) or session.scalar(union_all(*of_run).limit(1)) is not None:
        return
    # Either may contain a state whose transaction was never committed.
    blobs.delete_now(session, [training_states.state_key(run_id, epoch) for epoch in (0, 1)])
    session.execute(delete(ImageRow).where(ImageRow.dataset == images.dataset_of_run(run_id)))
    session.execute(
        delete(RunRow).where(RunRow.id == run_id, RunRow.status == HiddenStatus.DELETING)
    )


def _lock(session: Session, run_id: int) -> bool:
    """Lock the run until the transaction ends; False if another server holds the lock."""
    query = select(RunRow.id).where(RunRow.id == run_id, RunRow.status == HiddenStatus.DELETING)
    return session.scalar(query.with_for_update(skip_locked=True)) is not None


def _free_rows(session: Session, table: type[Base], run_id: int, rows: int) -> bool:
    columns = [table.__table__.c[key.name] for key in inspect(table).primary_key]
    of_run = table.__table__.c.run_id == run_id
    batch = select(*columns).where(of_run).limit(rows)
    removal = delete(table).where(of_run, tuple_(*columns).in_(batch))
    result = session.execute(removal, execution_options={"synchronize_session": False})
    return cast("CursorResult[Any]", result).rowcount > 0


def _free_blobs(session: Session, blobs: Blobs, run_id: int, max_bytes: int) -> bool:
    """Delete blobs before their rows: without a row, only the doctor would find them."""
    for table in run_blobs.ROWS_BY_TYPE.values():
        query = select(table.epoch, table.blob_key, table.bytes).where(table.run_id == run_id)
        batch: list[tuple[int, str]] = []
        size = 0
        for epoch, key, blob_size in session.execute(query.order_by(table.epoch)):
            if batch and size + blob_size > max_bytes:
                break
            batch.append((epoch, key))
            size += blob_size
        if batch:
            blobs.delete_now(session, [key for _, key in batch])
            epochs = [epoch for epoch, _ in batch]
            session.execute(
                delete(table)
                .where(table.run_id == run_id, table.epoch.in_(epochs))
                .execution_options(synchronize_session=False)
            )
            return True
    return False
