"""Online backup of the whole store, verified before it gets its final name."""

from pathlib import Path

from service.errors import BackupRefused
from service.files import check_new, fsync_path, publish, translate_os_errors, unfinished_folder
from service.flows.doctor.checks import BACKUP_CHECKS
from service.flows.doctor.examination import examine
from service.flows.doctor.finding import Severity
from service.store import deleted_runs, jobs, run_blobs, tensors
from service.store.sqlite_backup import copy_sqlite
from service.store.sqlite_file import prepare
from service.store.store import Store, open_store

DATABASE = "camreel.db"
BLOBS = "blobs"


def back_up(store: Store, target: Path) -> None:
    """Copy the store to a new file; with external blobs, to a new folder with `camreel.db` and
    `blobs`.

    The target appears complete, synced to disk and verified, or not at all. Quarantined epochs are
    copied unchanged. Raises BackupRefused, FileRefused, StoreBusy, StoreFull.
    """
    if store.file is None:
        raise BackupRefused(
            "This database is not a SQLite file. For PostgreSQL run: pg_dump --format=custom"
        )
    check_new(target)
    with translate_os_errors(target), unfinished_folder(target.absolute().parent) as folder:
        unfinished = folder / "backup"
        unfinished.mkdir(mode=0o700)
        prepare(unfinished / DATABASE, "OUT")
        copy_sqlite(store.file, unfinished / DATABASE)
        is_external = store.blobs.is_external
        blobs = f"file:{unfinished / BLOBS}" if is_external else "sql"
        with open_store(unfinished / DATABASE, blobs) as copy:
            if is_external:
                _copy_blobs(store, copy)
            _verify(copy)
        fsync_path(unfinished / DATABASE)
        if is_external:
            unfinished.rename(target)
            fsync_path(target.absolute().parent)
        else:
            publish(unfinished / DATABASE, target)


def _copy_blobs(store: Store, copy: Store) -> None:
    with copy.read_session() as session:
        deleted = set(deleted_runs.list_ids(session))
        keys = [
            blob.key for blob in run_blobs.list_run_blobs(session) if blob.run_id not in deleted
        ]
        keys += [*jobs.blob_keys(session).values(), *tensors.list_blob_keys(session)]
    for key in keys:
        try:
            with store.read_session() as session:
                data = store.blobs.get(session, key)
        except KeyError:
            # `_verify` refuses the backup, unless the blob is of a job or a quarantined epoch.
            continue
        with copy.read_session() as session:
            copy.blobs.put(session, key, data)


def _verify(copy: Store) -> None:
    # Quarantined epochs were damaged before the copy; all other damage is an error.
    examination = examine(copy, checks=("integrity", *BACKUP_CHECKS))
    if examination.status == 2:
        finding = next(
            checked
            for checked in examination.findings
            if checked.finding.severity is Severity.DAMAGE
        ).finding
        location = f"run {finding.run_id}, epoch {finding.epoch}: " if finding.run_id else ""
        raise BackupRefused(
            f"The copy is damaged ({location}{finding.message}). Run: camreel doctor --repair"
        )
