"""What maps are resolved from: run, epoch and image, by statements that are built once.

Building a statement costs SQLAlchemy more than SQLite needs to execute it, and every request for
a map runs these.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from service.errors import EpochNotFound, RunNotFound
from service.names import sanitize_name
from service.store import uploaded_images
from service.store.epochs import (
    CHECKPOINT_OF_EPOCH,
    EPOCH_COLUMNS,
    Epoch,
    epoch_from_columns,
)
from service.store.images import StoredImage
from service.store.rows import (
    CheckpointRow,
    EpochRow,
    ImageRow,
    ProbeRow,
    RunRow,
    UploadRow,
)
from service.store.run_status import HIDDEN_STATUSES

_IS_RUN = (RunRow.id == bindparam("run_id")) & RunRow.status.not_in(HIDDEN_STATUSES)
_IMAGE_COLUMNS = (ImageRow.dataset, ImageRow.reference, ImageRow.label, ImageRow.png)

_RUN = select(RunRow.spec, RunRow.epochs_done).where(_IS_RUN)
_RUN_AT_EPOCH = (
    select(RunRow.spec, RunRow.epochs_done, *EPOCH_COLUMNS)
    .outerjoin(EpochRow, (EpochRow.run_id == RunRow.id) & (EpochRow.epoch == bindparam("epoch")))
    .outerjoin(CheckpointRow, CHECKPOINT_OF_EPOCH)
    .where(_IS_RUN)
)
_EPOCHS = (
    select(*EPOCH_COLUMNS)
    .join(CheckpointRow, CHECKPOINT_OF_EPOCH)
    .where(EpochRow.run_id == bindparam("run_id"))
    .order_by(EpochRow.epoch)
)
_PROBES = (
    select(*_IMAGE_COLUMNS)
    .join(ProbeRow, ProbeRow.image_id == ImageRow.id)
    .where(ProbeRow.run_id == bindparam("run_id"))
    .order_by(ProbeRow.position)
)
_FIRST_PROBE = _PROBES.limit(1)
_IMAGE = (
    select(*_IMAGE_COLUMNS, UploadRow.used_at)
    .outerjoin(UploadRow, UploadRow.reference == ImageRow.reference)
    .where(ImageRow.dataset == bindparam("dataset"), ImageRow.reference == bindparam("reference"))
)
_REFERENCES = select(ImageRow.reference).where(
    ImageRow.dataset == bindparam("dataset"), ImageRow.reference.not_like("upload:%")
)


@dataclass(frozen=True)
class RunAtEpoch:
    """A run's spec and one of its epochs."""

    spec: dict[str, Any]
    epoch: Epoch


def get_run_at_epoch(session: Session, run_id: int, epoch: int) -> RunAtEpoch:
    """A run and one of its epochs. Raises RunNotFound and EpochNotFound."""
    row = session.execute(_RUN_AT_EPOCH, {"run_id": run_id, "epoch": epoch}).one_or_none()
    if row is None:
        raise RunNotFound(run_id)
    spec, epochs_done, *columns = row
    if row.sha256 is None:
        raise EpochNotFound(run_id, epoch, epochs_done)
    return RunAtEpoch(_sanitize(spec), epoch_from_columns(columns))


def get_spec(session: Session, run_id: int) -> dict[str, Any]:
    """A run's spec. Raises RunNotFound."""
    row = session.execute(_RUN, {"run_id": run_id}).one_or_none()
    if row is None:
        raise RunNotFound(run_id)
    return _sanitize(row.spec)


def list_epochs(session: Session, run_id: int) -> list[Epoch]:
    """All epochs of a run that `get_spec` found in the same transaction, ascending."""
    return [epoch_from_columns(row) for row in session.execute(_EPOCHS, {"run_id": run_id})]


def list_probes(session: Session, run_id: int) -> list[StoredImage]:
    """The run's probes in their order; empty before its worker has read the dataset."""
    return [StoredImage(*row) for row in session.execute(_PROBES, {"run_id": run_id})]


@dataclass(frozen=True)
class RequestedImage:
    """The image of a query, as far as the store has it."""

    reference: str | None  # None: the run's first probe
    stored_image: StoredImage | None
    use_is_recent: bool = True  # False for an upload whose recorded use is old


def find_image(session: Session, dataset: str, reference: str) -> RequestedImage:
    """The probe or upload of that reference."""
    row = session.execute(_IMAGE, {"dataset": dataset, "reference": reference}).one_or_none()
    if row is None:
        return RequestedImage(reference, None)
    image = StoredImage(row.dataset, row.reference, row.label, row.png)
    return RequestedImage(reference, image, uploaded_images.is_use_recent(row.used_at))


def list_references(session: Session, dataset: str) -> frozenset[str]:
    """The references of the dataset's own images that are stored; uploads are not among them."""
    return frozenset(session.scalars(_REFERENCES, {"dataset": dataset}))


def find_first_probe(session: Session, run_id: int) -> RequestedImage:
    """The run's first probe."""
    row = session.execute(_FIRST_PROBE, {"run_id": run_id}).one_or_none()
    return RequestedImage(None, None if row is None else StoredImage(*row))


def _sanitize(spec: dict[str, Any]) -> dict[str, Any]:
    # Older versions accepted names that RunSpec rejects.
    return spec | {"name": sanitize_name(spec["name"])} if "name" in spec else spec
