"""Maintenance of the store: export and import of runs, backup, doctor, compaction."""

import json
from collections.abc import Mapping
from pathlib import Path

from service.cli.terminal import print_line
from service.flows.backup import back_up
from service.flows.deletion import DeletedRunCleaner, UnusedTensorCleaner
from service.flows.doctor.examination import examine
from service.flows.networks import Networks
from service.flows.recorded_runs import Recordings
from service.flows.spools import import_spool
from service.flows.transfer.exporting import export_run
from service.flows.transfer.importing import import_run
from service.settings import Settings
from service.store import disk_space, runs, schema
from service.store.storage_quota import StorageLimits
from service.store.store import Store


def export_to_file(settings: Settings, run: int, output: Path) -> None:
    """Export a run."""
    store = _open_store(settings)
    size = export_run(store, run, output)
    print_line(f"{output}: run {run}, {size:,} bytes")


def import_from_file(settings: Settings, file: Path) -> None:
    """Import a run under a new id."""
    run = import_run(_open_store(settings), file)
    assert run.origin is not None  # noqa: S101  set by the import
    print_line(f"Imported run {run.origin['run_id']} of {file} as run {run.id}")


def import_from_spool(settings: Settings, folder: Path) -> None:
    """Take in a spool, with what was recorded since the last time."""
    store = _open_store(settings)
    recordings = Recordings(store, Networks(store))
    run_id = import_spool(recordings, str(settings.database), folder)
    with store.read_session() as session:
        run = runs.get(session, run_id)
    print_line(f"{folder} is run {run_id}: {run.status}, {run.epochs_done + 1} epochs")


def backup(settings: Settings, output: Path) -> None:
    """Copy the store and verify the copy."""
    store = _open_store(settings)
    back_up(store, output)
    description = "a folder: database and blobs" if store.blobs.is_external else "a database"
    print_line(f"{output}: {description}, verified")


def doctor(settings: Settings, *, repair: bool, as_json: bool) -> int:
    """Print one line for each finding, or all as JSON; the exit status."""
    examination = examine(_open_store_unchecked(settings), repair=repair)
    findings = [
        {
            "check": result.check,
            "severity": str(result.finding.severity),
            "run_id": result.finding.run_id,
            "epoch": result.finding.epoch,
            "finding": result.finding.message,
            "repaired": result.repaired,
        }
        for result in examination.findings
    ]
    if as_json:
        print(json.dumps({"status": examination.status, "findings": findings}))  # noqa: T201
        return examination.status
    for finding in findings:
        print_line(_finding_line(finding))
    if not findings:
        print_line("No problems found.")
    return examination.status


def _finding_line(finding: Mapping[str, object]) -> str:
    keys = {"run": "run_id", "epoch": "epoch"}
    subject = [f"{name} {finding[key]}" for name, key in keys.items() if finding[key] is not None]
    prefix = f"{', '.join(subject)}: " if subject else ""
    suffix = " [repaired]" if finding["repaired"] else ""
    return f"{finding['severity']}: {finding['check']}: {prefix}{finding['finding']}{suffix}"


def compact(settings: Settings) -> None:
    """Remove the remains of deleted runs and return all free space to the file system."""
    store = _open_store(settings)
    DeletedRunCleaner(store).free_space()
    UnusedTensorCleaner(store).free_space()
    disk_space.compact(store.engine)
    print_line("The database is compact. From now on, deleting runs returns their space.")


def _open_store(settings: Settings) -> Store:
    """The store, whose schema is created if it is empty. Raises SchemaMismatch."""
    store = _open_store_unchecked(settings)
    schema.ensure(store)
    return store


def _open_store_unchecked(settings: Settings) -> Store:
    limits = StorageLimits(settings.quota_bytes, settings.min_free_bytes)
    return Store.open(settings.database, settings.blobs, limits)
