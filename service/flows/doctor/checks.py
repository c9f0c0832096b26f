"""The doctor's checks. A new check is a function here and a line in CHECKS."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path

from pydantic import ValidationError

from service.core import checkpoints
from service.core.datasets import DATASETS
from service.core.epoch_manifests import EpochManifest
from service.core.experiments.plan import ExperimentPlan
from service.core.images import is_canonical_png, read_size
from service.core.recorded_spec import parse_spec
from service.core.spec import RunSpec
from service.counts import Count
from service.errors import CheckpointCorrupt
from service.files import list_leftovers, remove_leftover
from service.flows.checkpoints import Damage, find_damage, find_tensor_damage
from service.flows.doctor.finding import Finding, Severity
from service.store import (
    deleted_runs,
    disk_space,
    epochs,
    experiments,
    imports,
    inspection,
    jobs,
    run_blobs,
    run_lifecycle,
    runs,
    schema,
    tensors,
)
from service.store.images import is_of_run
from service.store.run_lifecycle import Lease
from service.store.run_status import RunSource, RunStatus
from service.store.runs import Run
from service.store.store import Store
from service.store_errors import SchemaMismatch

LOST_AFTER_SECONDS = 60.0
"""Longer than a service needs to reassign a lost run."""

WATCH_SECONDS = 30.0
"""How long the doctor waits for a heartbeat."""

SETTLING_SECONDS = 600.0
"""A file older than this does not belong to a transaction in progress."""

Check = Callable[[Store], Iterator[Finding]]


def _schema(store: Store) -> Iterator[Finding]:
    try:
        schema.ensure(store)
    except SchemaMismatch as error:
        yield Finding(Severity.DAMAGE, str(error))
        return
    for name in schema.missing_indexes(store):
        yield Finding(Severity.WARNING, f"the index {name} is missing: queries are slow")


def _integrity(store: Store) -> Iterator[Finding]:
    with store.read_session() as session:
        for message in inspection.check_integrity(session):
            yield Finding(Severity.DAMAGE, message)


def _free_pages(store: Store) -> Iterator[Finding]:
    with store.read_session() as session:
        reclaims_space = disk_space.reclaims_space(session)
    if not reclaims_space:
        message = "deleted runs do not free their disk space; run: camreel compact"
        yield Finding(Severity.WARNING, message)


def _epoch_rows(store: Store) -> Iterator[Finding]:
    for run in _all_runs(store):
        with store.read_session() as session:
            numbers = inspection.list_epoch_numbers(session, run.id)
            complete_numbers = [epoch.epoch for epoch in epochs.list_epochs(session, run.id)]
            # Read again: an epoch may have been committed since.
            epochs_done = runs.get(session, run.id).epochs_done
        last_number = numbers[-1] if numbers else -1
        if numbers != list(range(last_number + 1)):
            yield Finding(Severity.DAMAGE, "its epochs are not consecutive", run.id)
        for number in sorted(set(numbers) - set(complete_numbers)):
            yield Finding(Severity.DAMAGE, "it has no checkpoint row", run.id, number)
        if epochs_done != last_number:
            message = f"its last epoch is recorded as {epochs_done}, but is {last_number}"
            repair = partial(inspection.set_epochs_done, run_id=run.id, epoch=last_number)
            yield Finding(Severity.DAMAGE, message, run.id, repair=repair)


def _checkpoints(store: Store) -> Iterator[Finding]:
    """Size, SHA-256, header and tensors of each checkpoint, in one transaction per epoch."""
    find_damage_of_tensor = cache(partial(find_tensor_damage, store))
    for run in _all_runs(store):
        spec = parse_spec(run.spec)
        with store.read_session() as session:
            epoch_rows = epochs.list_epochs(session, run.id)
        for epoch in epoch_rows:
            with store.read_session() as session:
                try:
                    data = store.blobs.get(session, epoch.checkpoint.blob_key)
                except KeyError:
                    data = None
            defect = find_damage(data, epoch, spec) or (
                _manifest_damage(data or b"", find_damage_of_tensor)
                if spec.has_program
                else _decoding_damage(data)
            )
            if defect is None and epoch.quarantine_reason is not None:
                repair = partial(epochs.release_quarantine, run_id=run.id, epoch=epoch.epoch)
                message = f"is quarantined ({epoch.quarantine_reason}), but is intact again"
                yield Finding(Severity.WARNING, message, run.id, epoch.epoch, repair)
            elif defect is not None and epoch.quarantine_reason is None:
                repair = partial(epochs.quarantine, run_id=run.id, epoch=epoch.epoch, reason=defect)
                message = f"its checkpoint is {defect}"
                yield Finding(Severity.DAMAGE, message, run.id, epoch.epoch, repair)
            elif defect is not None:
                message = f"is quarantined: its checkpoint is {defect}"
                yield Finding(Severity.WARNING, message, run.id, epoch.epoch)


def _decoding_damage(data: bytes | None) -> Damage | None:
    try:
        checkpoints.decode(data or b"")
    except CheckpointCorrupt:
        return Damage.UNREADABLE
    return None


def _manifest_damage(
    manifest: bytes, find_damage_of_tensor: Callable[[str], Damage | None]
) -> Damage | None:
    """Damage of a tensor of a recorded epoch; each is read once, however many epochs share it."""
    hashes = EpochManifest.decode(manifest).tensors.values()
    return next(filter(None, map(find_damage_of_tensor, hashes)), None)


def _tensor_references(store: Store) -> Iterator[Finding]:
    """Tensors of recorded epochs that would be deleted as unused."""
    for run in _all_runs(store):
        if run.source is RunSource.TRAINED:
            continue
        with store.read_session() as session:
            for epoch in epochs.list_epochs(session, run.id):
                try:
                    data = store.blobs.get(session, epoch.checkpoint.blob_key)
                    hashes = set(EpochManifest.decode(data).tensors.values())
                except (KeyError, CheckpointCorrupt):
                    continue  # `_checkpoints` finds it
                references = tensors.list_references(session, run.id, epoch.epoch)
                missing = set(tensors.get_many(session, hashes - references))
                if missing:
                    repair = partial(
                        tensors.add_references, run_id=run.id, epoch=epoch.epoch, hashes=missing
                    )
                    message = "some of its tensors could be deleted as unused"
                    yield Finding(Severity.DAMAGE, message, run.id, epoch.epoch, repair)


def _blobs(store: Store) -> Iterator[Finding]:
    """Blobs without a row, and files of interrupted writes."""
    with store.read_session() as session:
        settled_blobs = [
            blob for blob in store.blobs.list_blobs(session) if blob.age_seconds > SETTLING_SECONDS
        ]
    with store.read_session() as session:  # afterwards: a row is written after its blob
        referenced_keys = {blob.key for blob in run_blobs.list_run_blobs(session)}
        referenced_keys.update(jobs.blob_keys(session).values())
        referenced_keys.update(tensors.list_blob_keys(session))
    for blob in settled_blobs:
        if blob.name not in referenced_keys:
            reason = "left by an interrupted write" if blob.is_temporary else "no row refers to it"
            repair = partial(store.blobs.delete_now, names=[blob.name])
            message = f"blob {blob.name}, {blob.bytes:,} bytes: {reason}"
            yield Finding(Severity.WARNING, message, repair=repair)


def _leftovers(store: Store) -> Iterator[Finding]:
    """Files of killed exports and backups in the folder of the database."""
    for path in list_leftovers(store.file.parent) if store.file is not None else []:
        message = f"{path.name} was left by a process that was killed"
        yield Finding(Severity.WARNING, message, repair=partial(_remove, path=path))


def _remove(_session: object, path: Path) -> None:
    remove_leftover(path)


def _jobs(store: Store) -> Iterator[Finding]:
    """Missing or damaged results, which can be computed again."""
    with store.read_session() as session:
        job_ids = list(jobs.blob_keys(session))
    for job_id in job_ids:
        with store.read_session() as session:
            is_unreadable = jobs.exists(session, job_id) and not jobs.get_result(
                session, store.blobs, job_id
            )
        if is_unreadable:
            repair = partial(jobs.delete_jobs, blobs=store.blobs, job_ids=[job_id])
            yield Finding(
                Severity.WARNING, f"the result of job {job_id} is missing or damaged", repair=repair
            )


def _orphans(store: Store) -> Iterator[Finding]:
    with store.read_session() as session:
        count = inspection.count_orphans(session)
    if count:
        rows = Count(count)
        message = f"{rows:row|rows} of maps, predictions and tests for missing epochs"
        repair = inspection.delete_orphans
        yield Finding(Severity.WARNING, message, repair=repair)


def _deletions(store: Store) -> Iterator[Finding]:
    with store.read_session() as session:
        for run_id in deleted_runs.list_ids(session):
            message = "is deleted, but not freed yet: a service frees it, or: camreel compact"
            yield Finding(Severity.WARNING, message, run_id)
        for run_id in imports.get_heartbeats(session):
            message = "is being imported, or its import was interrupted: then a service deletes it"
            yield Finding(Severity.WARNING, message, run_id)


def _lost_runs(store: Store) -> Iterator[Finding]:
    """Runs whose heartbeat is old and does not change for WATCH_SECONDS.

    The system clock only selects the runs to watch, so that a changed clock loses no live run.
    """
    current_time = datetime.now(UTC)
    oldest = current_time - timedelta(seconds=LOST_AFTER_SECONDS)
    stale_heartbeats = {
        run.id: (run.attempt, run.heartbeats)
        for run in _running(store)
        if run.heartbeat_at is None or not oldest <= run.heartbeat_at <= current_time
    }
    if not stale_heartbeats:
        return
    time.sleep(WATCH_SECONDS)
    for run in _running(store):
        if stale_heartbeats.get(run.id) == (run.attempt, run.heartbeats):
            lease = Lease(run.id, run.attempt, run.lease_owner or "")
            repair = partial(run_lifecycle.requeue, lease=lease, lost_workers=0)
            message = "it is running, but its worker sends no heartbeats: requeue it"
            yield Finding(Severity.WARNING, message, run.id, repair=repair)


def _running(store: Store) -> list[Run]:
    with store.read_session() as session:
        running = runs.list_by_status(session, RunStatus.RUNNING)
    return [run for run in running if run.source is RunSource.TRAINED]


def _images(store: Store) -> Iterator[Finding]:
    with store.read_session() as session:
        stored_images = inspection.list_images(session)
    shapes = {name: source.image_shape for name, source in DATASETS.items()}
    specs = [parse_spec(run.spec) for run in _all_runs(store)]
    shapes |= {s.image_set: s.source.image_shape for s in specs if isinstance(s, RunSpec)}
    for image_set, reference, png in stored_images:
        if image_set not in shapes and "@" in image_set:
            continue  # of deleted runs, which alone state the shape
        shape = read_size(png) if is_of_run(image_set) else shapes.get(image_set)
        if shape is None or not is_canonical_png(png, shape):
            message = f"the stored image {reference} of {image_set} is invalid"
            yield Finding(Severity.DAMAGE, message)


def _all_runs(store: Store) -> list[Run]:
    with store.read_session() as session:
        return [run for status in RunStatus for run in runs.list_by_status(session, status)]


def _experiments(store: Store) -> Iterator[Finding]:
    with store.read_session() as session:
        rows = experiments.list_newest(session, limit=None)
    for experiment in rows:
        try:
            ExperimentPlan.model_validate(experiment.plan)
        except ValidationError:
            message = f"the plan of experiment {experiment.id} cannot be read"
            yield Finding(Severity.DAMAGE, message)


CHECKS: dict[str, Check] = {
    "schema": _schema,
    "integrity": _integrity,
    "free-pages": _free_pages,
    "deletions": _deletions,
    "lost-runs": _lost_runs,
    "epochs": _epoch_rows,
    "checkpoints": _checkpoints,
    "references": _tensor_references,
    "blobs": _blobs,
    "unfinished": _leftovers,
    "jobs": _jobs,
    "derived": _orphans,
    "images": _images,
    "experiments": _experiments,
}
"""In order: the schema first, since the others are skipped if it is damaged."""

BACKUP_CHECKS = ("schema", "epochs", "checkpoints", "references", "derived", "experiments")
"""Checks of a backup, in addition to SQLite's integrity check."""
