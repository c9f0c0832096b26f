"""Loading stored checkpoints: verified on every load, and quarantined when damaged."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum

import structlog

from service.core import checkpoints
from service.core.checkpoints import CheckpointHeader
from service.core.epoch_manifests import EpochManifest, is_manifest
from service.core.program_checkpoints import assemble_state
from service.core.recorded_spec import AnySpec, RecordedSpec, parse_spec
from service.errors import CheckpointCorrupt, EpochQuarantined
from service.store import epochs, runs, tensors
from service.store.epochs import Epoch
from service.store.store import Store
from service.store_errors import StoreFull, StoreUnavailable

log = structlog.get_logger()


class Damage(StrEnum):
    """What is wrong with a stored checkpoint."""

    MISSING = "missing"  # no bytes under its key
    TRUNCATED = "truncated"  # not the length that was written
    CORRUPT = "corrupt"  # not the bytes that were written
    SWAPPED = "swapped"  # intact, but of another epoch, dataset or architecture
    UNREADABLE = "unreadable"  # the bytes that were written, but not a network


def find_damage(data: bytes | None, epoch: Epoch, spec: AnySpec) -> Damage | None:
    """What is wrong with the bytes stored for an epoch of a run of `spec`, or None.

    A checkpoint does not name its run: equal networks are equal bytes, whatever the run. Its
    SHA-256 ties it to the epoch's row, and its header ties the row to the epoch. Of a recorded
    epoch, the bytes are the manifest; `read_verified_tensor` verifies its tensors.
    """
    if data is None:
        return Damage.MISSING
    if len(data) != epoch.checkpoint.bytes:
        return Damage.TRUNCATED
    if checkpoints.digest(data) != epoch.checkpoint.sha256:
        return Damage.CORRUPT
    try:
        belongs = _belongs(data, epoch, spec)
    except CheckpointCorrupt:
        return Damage.UNREADABLE
    return None if belongs else Damage.SWAPPED


def _belongs(data: bytes, epoch: Epoch, spec: AnySpec) -> bool:
    """Whether an intact checkpoint is that of the epoch. Raises CheckpointCorrupt."""
    if isinstance(spec, RecordedSpec):
        manifest = EpochManifest.decode(data)
        return (manifest.network, manifest.epoch) == (spec.network, epoch.epoch)
    if spec.has_program:
        return EpochManifest.decode(data).epoch == epoch.epoch
    return checkpoints.read_header(data) == CheckpointHeader.for_epoch(spec, epoch.epoch)


def load_verified_checkpoint(store: Store, epoch: Epoch, spec: AnySpec | None = None) -> bytes:
    """The bytes stored for an epoch, verified. Raises EpochQuarantined if they are damaged.

    `spec` is the run's; without it, the run is read from the store.
    """
    with store.read_session() as session:
        spec = spec or parse_spec(runs.get(session, epoch.run_id).spec)
        try:
            data = store.blobs.get(session, epoch.checkpoint.blob_key)
        except KeyError:
            data = None
    damage = find_damage(data, epoch, spec)
    if data is None or damage is not None:
        raise quarantine_epoch(store, epoch, damage or Damage.MISSING)
    return data


def read_verified_tensor(store: Store, epoch: Epoch, sha256: str) -> bytes:
    """The file of one of the epoch's tensors, verified. Raises EpochQuarantined."""
    parts: list[bytes] = []
    damage = find_tensor_damage(store, sha256, parts.append)
    if damage is not None:
        raise quarantine_epoch(store, epoch, damage)
    return b"".join(parts)


def find_tensor_damage(
    store: Store, sha256: str, keep_part: Callable[[bytes], object] = lambda _: None
) -> Damage | None:
    """What is wrong with the stored bytes of a tensor, or None. `keep_part` gets each part."""
    digest = hashlib.sha256()
    size = 0
    with store.read_session() as session:
        tensor = tensors.get(session, sha256)
        if tensor is None:
            return Damage.MISSING
        try:
            for part in tensors.read_parts(session, store.blobs, tensor):
                digest.update(part)
                size += len(part)
                keep_part(part)
        except KeyError:
            return Damage.MISSING
    if size != tensor.bytes:
        return Damage.TRUNCATED
    return None if digest.hexdigest() == sha256 else Damage.CORRUPT


def load_weights(store: Store, epoch: Epoch, spec: AnySpec | None = None) -> bytes:
    """The epoch's tensors as safetensors bytes, verified. Raises EpochQuarantined."""
    data = load_verified_checkpoint(store, epoch, spec)
    if not is_manifest(data):
        return data
    manifest = EpochManifest.decode(data)
    return assemble_state(
        {
            name: read_verified_tensor(store, epoch, sha256)
            for name, sha256 in manifest.tensors.items()
        }
    )


def quarantine_epoch(store: Store, epoch: Epoch, reason: Damage) -> EpochQuarantined:
    """Mark the epoch as quarantined; returns the error to raise.

    Raises RunNotFound where the run was deleted in the meantime: then nothing is wrong.
    """
    # If the database takes no writes now, the next load of the checkpoint marks it.
    with suppress(StoreUnavailable, StoreFull), store.write_session() as session:
        if epochs.quarantine(session, epoch.run_id, epoch.epoch, reason):
            log.error(
                "checkpoint quarantined", run=epoch.run_id, epoch=epoch.epoch, reason=str(reason)
            )
        epochs.get(session, epoch.run_id, epoch.epoch)
    return EpochQuarantined(epoch.run_id, epoch.epoch, reason)
