"""Looking after a store: backups, runs as files, the doctor, and free space."""

import json
from pathlib import Path

from service.cli.terminal import print_line
from service.flows.backup import back_up
from service.flows.deletion import DeletedRunCleaner
from service.flows.doctor.examination import examine
from service.flows.transfer.exporting import export_run
from service.flows.transfer.importing import import_run
from service.settings import Settings
from service.store import disk_space, schema
from service.store.storage_quota import StorageLimits
from service.store.store import Store


def export(settings: Settings, run: int, out: Path) -> None:
    """Write a run to a file."""
    store = _store(settings)
    size = export_run(store, run, out)
    print_line(f"{out}: run {run}, {size:,} bytes")


def import_(settings: Settings, file: Path) -> None:
    """Take a run in from a file."""
    run = import_run(_store(settings), file)
    assert run.origin is not None  # noqa: S101  it was just given one
    print_line(f"Run {run.id} is run {run.origin['run_id']} of {file}")


def backup(settings: Settings, out: Path) -> None:
    """Copy the store."""
    store = _store(settings)
    back_up(store, out)
    kind = "a folder: database and blobs" if store.blobs.is_external else "a database"
    print_line(f"{out}: {kind}, verified")


def doctor(settings: Settings, *, repair: bool, as_json: bool) -> int:
    """Print what is wrong, one line a finding; the exit status."""
    examined = examine(_open(settings), repair=repair)
    lines = [
        {
            "check": one.check,
            "severity": str(one.finding.severity),
            "run_id": one.finding.run,
            "epoch": one.finding.epoch,
            "finding": one.finding.words,
            "repaired": one.repaired,
        }
        for one in examined.found
    ]
    if as_json:
        print(json.dumps({"status": examined.status, "findings": lines}))  # noqa: T201
        return examined.status
    for line in lines:
        keys = {"run": "run_id", "epoch": "epoch"}
        where = [f"{name} {line[key]}" for name, key in keys.items() if line[key] is not None]
        place = f"{', '.join(where)}: " if where else ""
        mended = " [repaired]" if line["repaired"] else ""
        print_line(f"{line['severity']}: {line['check']}: {place}{line['finding']}{mended}")
    if not lines:
        print_line("Nothing is wrong.")
    return examined.status


def compact(settings: Settings) -> None:
    """Free what deleted runs still take, and return all free space to the disk."""
    store = _store(settings)
    DeletedRunCleaner(store).free()
    disk_space.compact(store.engine)
    print_line("The database is compact; from now on deleted runs give their space back.")


def _store(settings: Settings) -> Store:
    store = _open(settings)
    schema.ensure(store)
    return store


def _open(settings: Settings) -> Store:
    bounds = StorageLimits(settings.quota_bytes, settings.min_free_bytes)
    return Store.open(settings.database, settings.blobs, bounds)
