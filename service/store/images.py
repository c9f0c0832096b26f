"""Queries on images: probes of runs and uploads, stored with their pixels."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.store.insert_missing import insert_missing
from service.store.rows import ImageRow, ProbeRow
from service.store.run_status import is_visible

REFERENCES_PER_QUERY = 500


@dataclass(frozen=True)
class StoredImage:
    """An image as the network saw it: lossless PNG bytes, and its label if it has one."""

    dataset: str
    reference: str
    label: int | None
    png: bytes

    @property
    def sha256(self) -> str:
        """SHA-256 of the PNG, hexadecimal. A reference alone does not identify the pixels: a
        dataset may differ between data directories.
        """
        return hashlib.sha256(self.png).hexdigest()


def dataset_of_run(run_id: int) -> str:
    """The name under which the images of a recorded run are stored, which has no dataset."""
    return f"run:{run_id}"


def is_of_run(dataset: str) -> bool:
    """Whether the images of that name are those of a recorded run."""
    return dataset.startswith("run:")


def get(session: Session, dataset: str, reference: str) -> StoredImage | None:
    """The image of that reference, if it is stored."""
    row = _find(session, dataset, reference)
    return _value(row) if row else None


def get_many(session: Session, dataset: str, references: Sequence[str]) -> dict[str, StoredImage]:
    """Those of the images that are stored, by reference."""
    images: dict[str, StoredImage] = {}
    for start in range(0, len(references), REFERENCES_PER_QUERY):
        batch = references[start : start + REFERENCES_PER_QUERY]
        query = select(ImageRow).where(ImageRow.dataset == dataset, ImageRow.reference.in_(batch))
        images |= {row.reference: _value(row) for row in session.scalars(query)}
    return images


def list_probes(session: Session, run_id: int) -> list[StoredImage]:
    """Probe images of a run, in its order."""
    query = (
        select(ImageRow)
        .join(ProbeRow, ProbeRow.image_id == ImageRow.id)
        .where(ProbeRow.run_id == run_id, is_visible(run_id))
        .order_by(ProbeRow.position)
    )
    return [_value(row) for row in session.scalars(query)]


def count_probes(session: Session, run_id: int) -> int:
    """Number of probe images of a run."""
    query = select(func.count()).select_from(ProbeRow)
    query = query.where(ProbeRow.run_id == run_id, is_visible(run_id))
    return session.execute(query).scalar_one()


def set_probes(session: Session, run_id: int, images: list[StoredImage]) -> None:
    """Store the run's probes, and those images that are missing. No effect if it has probes."""
    if list_probes(session, run_id):
        return
    insert_missing(session, ImageRow, [vars(image) for image in images])
    for position, image in enumerate(images):
        row = _find(session, image.dataset, image.reference)
        assert row is not None, "inserted above"  # noqa: S101  for mypy
        session.add(ProbeRow(run_id=run_id, position=position, image_id=row.id))


def put_probe(session: Session, run_id: int, position: int, image: StoredImage) -> bool:
    """Store a probe of a recorded run at its position; False if there is another one."""
    insert_missing(session, ImageRow, [vars(image)])
    row = _find(session, image.dataset, image.reference)
    assert row is not None, "inserted above"  # noqa: S101  for mypy
    insert_missing(
        session, ProbeRow, [{"run_id": run_id, "position": position, "image_id": row.id}]
    )
    return _value(row) == image


def _find(session: Session, dataset: str, reference: str) -> ImageRow | None:
    return session.scalar(
        select(ImageRow).where(ImageRow.dataset == dataset, ImageRow.reference == reference)
    )


def _value(row: ImageRow) -> StoredImage:
    return StoredImage(row.dataset, row.reference, row.label, row.png)
