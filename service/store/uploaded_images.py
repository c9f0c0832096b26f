"""Queries on uploaded images. An image that is uploaded twice is stored once."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from service.store import images
from service.store.images import StoredImage
from service.store.insert_missing import insert_missing
from service.store.rows import ImageRow, ProbeRow, RunRow, UploadRow
from service.store.run_status import RunStatus

USE_RESOLUTION = timedelta(days=1)
"""Resolution of `used_at`, so that not every request for a heatmap is a write."""

DELETE_BATCH = 500


@dataclass(frozen=True)
class Upload:
    """An uploaded image as it is stored, and the choices by which it was converted."""

    image: StoredImage
    choices: dict[str, Any]


def get_or_create(session: Session, digest: str, upload: Upload) -> Upload:
    """Store an upload, or return the existing one with the same digest and dataset."""
    dataset, reference = upload.image.dataset, upload.image.reference
    _insert_row(session, dataset, reference, digest, upload.choices)
    existing = session.execute(
        select(UploadRow.reference, UploadRow.choices).where(
            UploadRow.dataset == dataset, UploadRow.digest == digest
        )
    ).one()
    if existing.reference == reference:
        insert_missing(session, ImageRow, [vars(upload.image)])
        return upload
    mark_used(session, dataset, [existing.reference])
    image = images.get(session, dataset, existing.reference)
    assert image is not None, "stored and deleted with its row"  # noqa: S101  for mypy
    return Upload(image, existing.choices)


def get(session: Session, dataset: str, reference: str) -> tuple[str, dict[str, Any]] | None:
    """Digest and choices of an upload; None if there is no such upload."""
    query = select(UploadRow.digest, UploadRow.choices).where(
        UploadRow.dataset == dataset, UploadRow.reference == reference
    )
    row = session.execute(query).one_or_none()
    return (row.digest, row.choices) if row else None


def restore(
    session: Session, dataset: str, reference: str, digest: str, choices: dict[str, Any]
) -> None:
    """Insert an upload from another store, whose image is stored already.

    No effect if the same image was uploaded here.
    """
    _insert_row(session, dataset, reference, digest, choices)


def mark_used(session: Session, dataset: str, references: list[str]) -> list[str]:
    """Update the time of last use; returns the references that do not exist."""
    # The UPDATE itself returns what exists: a query before it could miss a concurrent deletion.
    statement = (
        update(UploadRow)
        .where(UploadRow.dataset == dataset, UploadRow.reference.in_(references))
        .values(used_at=datetime.now(UTC))
        .returning(UploadRow.reference)
        .execution_options(synchronize_session=False)
    )
    existing = set(session.scalars(statement))
    return [reference for reference in references if reference not in existing]


def is_use_recent(used_at: datetime | None) -> bool:
    """Whether a time of last use is within USE_RESOLUTION; also True for None, not an upload."""
    return used_at is None or used_at > datetime.now(UTC) - USE_RESOLUTION


def delete_unused(session: Session, max_idle: timedelta) -> int:
    """Delete uploads that were not used for `max_idle` and are no run's probes; returns how many.

    At most DELETE_BATCH, so that no request waits for the deletion of months of uploads. A queued
    run has no probes yet: the uploads that its spec names are not deleted either.
    """
    probes = select(ImageRow.reference).join(ProbeRow, ProbeRow.image_id == ImageRow.id)
    is_unused = (
        UploadRow.used_at < datetime.now(UTC) - max_idle,
        UploadRow.reference.not_in(probes),
        UploadRow.reference.not_in(_probes_of_queued_runs(session)),
    )
    batch = select(UploadRow.reference).where(*is_unused).limit(DELETE_BATCH)
    statement = (
        delete(UploadRow)
        .where(UploadRow.reference.in_(batch))
        .returning(UploadRow.reference)
        .execution_options(synchronize_session=False)
    )
    references = list(session.scalars(statement))
    session.execute(
        delete(ImageRow)
        .where(ImageRow.reference.in_(references))
        .execution_options(synchronize_session=False)
    )
    return len(references)


def _probes_of_queued_runs(session: Session) -> list[str]:
    specs = session.scalars(
        select(RunRow.spec).where(RunRow.status.in_((RunStatus.QUEUED, RunStatus.RUNNING)))
    )
    return [text for spec in specs for text in spec.get("probes", {}).get("images", [])]


def _insert_row(
    session: Session, dataset: str, reference: str, digest: str, choices: dict[str, Any]
) -> None:
    created_at = datetime.now(UTC)
    row = {
        "dataset": dataset,
        "digest": digest,
        "reference": reference,
        "choices": choices,
        "created_at": created_at,
        "used_at": created_at,
    }
    insert_missing(session, UploadRow, [row])
