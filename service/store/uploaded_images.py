"""Queries on uploaded images: what was uploaded twice is kept once."""

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
"""How exact the moment of last use is: not every look at a heatmap is a write."""

DELETE_BATCH = 500


@dataclass(frozen=True)
class Upload:
    """An uploaded image as it is kept, and what was done to its pixels."""

    image: StoredImage
    choices: dict[str, Any]


def get_or_create(session: Session, digest: str, upload: Upload) -> Upload:
    """Keep it; returns the one that was kept before, where `digest` came for its dataset before."""
    dataset, reference = upload.image.dataset, upload.image.reference
    now = datetime.now(UTC)
    row: dict[str, Any] = {"dataset": dataset, "digest": digest, "reference": reference}
    row |= {"choices": upload.choices, "created_at": now, "used_at": now}
    insert_missing(session, UploadRow, [row])
    kept = session.execute(
        select(UploadRow.reference, UploadRow.choices).where(
            UploadRow.dataset == dataset, UploadRow.digest == digest
        )
    ).one()
    if kept.reference == reference:
        insert_missing(session, ImageRow, [vars(upload.image)])
        return upload
    mark_used(session, dataset, [kept.reference])
    image = images.get(session, dataset, kept.reference)
    assert image is not None, "kept and removed with its row"  # noqa: S101  for mypy
    return Upload(image, kept.choices)


def get(session: Session, dataset: str, reference: str) -> tuple[str, dict[str, Any]] | None:
    """Digest and choices of an upload, None if there is none of that name."""
    query = select(UploadRow.digest, UploadRow.choices).where(
        UploadRow.dataset == dataset, UploadRow.reference == reference
    )
    row = session.execute(query).one_or_none()
    return (row.digest, row.choices) if row else None


def restore(
    session: Session, dataset: str, reference: str, digest: str, choices: dict[str, Any]
) -> None:
    """An upload of another store, whose image is kept already.

    Where the same was uploaded here, that stays the one to be found: the image is the run's alone.
    """
    now = datetime.now(UTC)
    row: dict[str, Any] = {"dataset": dataset, "digest": digest, "reference": reference}
    row |= {"choices": choices, "created_at": now, "used_at": now}
    insert_missing(session, UploadRow, [row])


def mark_used(session: Session, dataset: str, references: list[str]) -> list[str]:
    """They are in use now; returns those that the dataset does not have."""
    named = (UploadRow.dataset == dataset, UploadRow.reference.in_(references))
    # Told by the update itself: one that is being removed at the same time is not there.
    used = (
        update(UploadRow)
        .where(*named)
        .values(used_at=datetime.now(UTC))
        .returning(UploadRow.reference)
        .execution_options(synchronize_session=False)
    )
    there = set(session.scalars(used))
    return [reference for reference in references if reference not in there]


def is_use_recent(used_at: datetime | None) -> bool:
    """Whether the recorded time of an upload's last use is recent; True for any other image."""
    return used_at is None or used_at > datetime.now(UTC) - USE_RESOLUTION


def delete_unused(session: Session, max_idle: timedelta) -> int:
    """Remove those that nothing used for so long and no run watches; returns how many.

    At most REMOVED_AT_ONCE, so that no request waits for the removal of months. A run that waits
    watches nothing yet: what its spec names is kept too.
    """
    watched = select(ImageRow.reference).join(ProbeRow, ProbeRow.image_id == ImageRow.id)
    old = (
        UploadRow.used_at < datetime.now(UTC) - max_idle,
        UploadRow.reference.not_in(watched),
        UploadRow.reference.not_in(_waited_for(session)),
    )
    batch = select(UploadRow.reference).where(*old).limit(DELETE_BATCH)
    removed = (
        delete(UploadRow)
        .where(UploadRow.reference.in_(batch))
        .returning(UploadRow.reference)
        .execution_options(synchronize_session=False)
    )
    references = list(session.scalars(removed))
    session.execute(
        delete(ImageRow)
        .where(ImageRow.reference.in_(references))
        .execution_options(synchronize_session=False)
    )
    return len(references)


def _waited_for(session: Session) -> list[str]:
    specs = session.scalars(
        select(RunRow.spec).where(RunRow.status.in_((RunStatus.QUEUED, RunStatus.RUNNING)))
    )
    return [text for spec in specs for text in spec.get("probes", {}).get("images", [])]
