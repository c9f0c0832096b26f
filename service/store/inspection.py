"""Consistency queries for the doctor."""

from collections.abc import Iterator

from sqlalchemy import ColumnElement, delete, select, text, update
from sqlalchemy.orm import Session

from service.store.rows import EpochRow, ImageRow, RunRow
from service.store.rows_of_epochs import ROWS_OF_EPOCHS, RowOfEpoch


def check_integrity(session: Session) -> Iterator[str]:
    """Problems that SQLite reports of its file, and violated foreign keys; empty if there are none.

    Empty on PostgreSQL, which has `pg_amcheck`.
    """
    if session.get_bind().dialect.name != "sqlite":
        return
    for row in session.execute(text("PRAGMA integrity_check")):
        if row[0] != "ok":
            yield row[0]
    for row in session.execute(text("PRAGMA foreign_key_check")):
        yield f"a row of {row[0]} refers to none of {row[2]}"


def list_epoch_numbers(session: Session, run_id: int) -> list[int]:
    """Epochs of a run that have a row, in order, with or without a checkpoint."""
    query = select(EpochRow.epoch).where(EpochRow.run_id == run_id).order_by(EpochRow.epoch)
    return list(session.scalars(query))


def set_epochs_done(session: Session, run_id: int, epoch: int) -> None:
    """Correct `epochs_done` of a run."""
    session.execute(update(RunRow).where(RunRow.id == run_id).values(epochs_done=epoch))


def count_orphans(session: Session) -> int:
    """Number of rows of epochs, such as heatmaps and predictions, whose epoch is missing."""
    return sum(
        len(session.execute(select(table.epoch).where(_has_no_epoch(table))).all())
        for table in ROWS_OF_EPOCHS
    )


def delete_orphans(session: Session) -> None:
    """Delete rows of epochs, such as heatmaps and predictions, whose epoch is missing."""
    for table in ROWS_OF_EPOCHS:
        session.execute(
            delete(table).where(_has_no_epoch(table)).execution_options(synchronize_session=False)
        )


def list_images(session: Session) -> list[tuple[str, str, bytes]]:
    """All stored images: (dataset, reference, PNG)."""
    query = select(ImageRow.dataset, ImageRow.reference, ImageRow.png).order_by(ImageRow.id)
    return [(row[0], row[1], row[2]) for row in session.execute(query)]


def _has_no_epoch(table: RowOfEpoch) -> ColumnElement[bool]:
    epoch = select(EpochRow.epoch).where(
        EpochRow.run_id == table.run_id, EpochRow.epoch == table.epoch
    )
    return ~epoch.exists()
