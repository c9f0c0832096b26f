"""What the doctor asks of the database itself."""

from collections.abc import Iterator

from sqlalchemy import ColumnElement, delete, select, text, update
from sqlalchemy.orm import Session

from service.store.rows import EpochRow, HeatmapRow, ImageRow, PredictionRow, RunRow


def check_integrity(session: Session) -> Iterator[str]:
    """What SQLite finds wrong with its file, and rows that refer to none; empty where all is well.

    PostgreSQL checks its pages itself (`pg_amcheck`).
    """
    if session.get_bind().dialect.name != "sqlite":
        return
    for row in session.execute(text("PRAGMA integrity_check")):
        if row[0] != "ok":
            yield row[0]
    for row in session.execute(text("PRAGMA foreign_key_check")):
        yield f"a row of {row[0]} refers to none of {row[2]}"


def list_epoch_numbers(session: Session, run_id: int) -> list[int]:
    """The epochs that a run has rows of, in order, with a checkpoint or without."""
    query = select(EpochRow.epoch).where(EpochRow.run_id == run_id).order_by(EpochRow.epoch)
    return list(session.scalars(query))


def set_epochs_done(session: Session, run_id: int, epoch: int) -> None:
    """Bring a run's count in step with its rows."""
    session.execute(update(RunRow).where(RunRow.id == run_id).values(epochs_done=epoch))


def count_orphans(session: Session) -> int:
    """How many rows of maps and predictions are of epochs that are gone."""
    return sum(
        len(session.execute(select(table.epoch).where(_loose(table))).all())
        for table in (HeatmapRow, PredictionRow)
    )


def delete_orphans(session: Session) -> None:
    """Delete them: they can be computed again where there is anything to compute them from."""
    for table in (HeatmapRow, PredictionRow):
        session.execute(
            delete(table).where(_loose(table)).execution_options(synchronize_session=False)
        )


def list_images(session: Session) -> list[tuple[str, str, bytes]]:
    """All images kept: dataset, reference, PNG."""
    query = select(ImageRow.dataset, ImageRow.reference, ImageRow.png).order_by(ImageRow.id)
    return [(row[0], row[1], row[2]) for row in session.execute(query)]


def _loose(table: type[HeatmapRow] | type[PredictionRow]) -> ColumnElement[bool]:
    there = select(EpochRow.epoch).where(
        EpochRow.run_id == table.run_id, EpochRow.epoch == table.epoch
    )
    return ~there.exists()
