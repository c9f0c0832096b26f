"""Bad checkpoints: found out whenever one is loaded, told from each other, and set aside."""

from contextlib import suppress
from enum import StrEnum

import structlog

from service.core import checkpoints
from service.core.checkpoints import CheckpointHeader
from service.core.spec import RunSpec
from service.errors import CheckpointCorrupt, EpochQuarantined, StoreFull, StoreUnavailable
from service.store import epochs, runs
from service.store.epochs import Epoch
from service.store.store import Store

log = structlog.get_logger()


class Damage(StrEnum):
    """What is wrong with a stored checkpoint."""

    MISSING = "missing"  # no bytes under its key
    TRUNCATED = "truncated"  # another length than was written
    CORRUPT = "corrupt"  # other bytes than were written
    SWAPPED = "swapped"  # whole, but of another epoch, dataset or architecture
    UNREADABLE = "unreadable"  # as written, and yet no network


def damage(data: bytes | None, epoch: Epoch, spec: RunSpec) -> Damage | None:
    """What is wrong with the bytes stored for an epoch of a run of `spec`, or None.

    A checkpoint does not name its run: equal networks are equal bytes, whatever the run. That it is
    this run's is said by its sha256; that the row itself is this epoch's, by the header.
    """
    if data is None:
        return Damage.MISSING
    if len(data) != epoch.checkpoint.bytes:
        return Damage.TRUNCATED
    if checkpoints.digest(data) != epoch.checkpoint.sha256:
        return Damage.CORRUPT
    try:
        header = checkpoints.read_header(data)
    except CheckpointCorrupt:
        return Damage.UNREADABLE
    return None if header == CheckpointHeader.for_epoch(spec, epoch.epoch) else Damage.SWAPPED


def sound_checkpoint(store: Store, epoch: Epoch, spec: RunSpec | None = None) -> bytes:
    """The bytes stored for an epoch, verified. Raises EpochQuarantined where they are bad.

    `spec` is the run's, for callers that have it: reading it takes a query and a validation.
    """
    with store.read_session() as session:
        spec = spec or RunSpec.model_validate(runs.get(session, epoch.run_id).spec)
        try:
            data = store.blobs.get(session, epoch.checkpoint.blob_key)
        except KeyError:
            data = None
    found = damage(data, epoch, spec)
    if data is None or found is not None:
        raise quarantined(store, epoch, found or Damage.MISSING)
    return data


def quarantined(store: Store, epoch: Epoch, reason: Damage) -> EpochQuarantined:
    """Set the epoch aside; the error to raise for whoever asked for it.

    Raises RunNotFound where the run was deleted meanwhile: then nothing is wrong.
    """
    aside = False
    # A database that takes no writes now is told the next time the checkpoint is loaded.
    with suppress(StoreUnavailable, StoreFull), store.write_session() as session:
        if epochs.quarantine(session, epoch.run_id, epoch.epoch, reason):
            log.error(
                "checkpoint quarantined", run=epoch.run_id, epoch=epoch.epoch, reason=str(reason)
            )
        aside = epochs.get(session, epoch.run_id, epoch.epoch).quarantine_reason is not None
    return EpochQuarantined(epoch.run_id, epoch.epoch, reason, newly_detected=aside)
