"""Looking after a store: backups, runs as files, the doctor, and free space."""

from pathlib import Path

from rich.console import Console

from service.flows.transfer.exporting import export_run
from service.flows.transfer.importing import import_run
from service.settings import Settings
from service.store import schema
from service.store.room import Bounds
from service.store.store import Store


def export(settings: Settings, run: int, out: Path) -> None:
    """Write a run to a file."""
    store = _store(settings)
    size = export_run(store, run, out)
    Console().print(f"{out}: run {run}, {size:,} bytes")


def import_(settings: Settings, file: Path) -> None:
    """Take a run in from a file."""
    run = import_run(_store(settings), file)
    assert run.origin is not None  # noqa: S101  it was just given one
    Console().print(f"Run {run.id} is run {run.origin['run_id']} of {file}")


def _store(settings: Settings) -> Store:
    bounds = Bounds(settings.quota_bytes, settings.min_free_bytes)
    store = Store.open(settings.resolved_database_url, settings.blobs, bounds)
    schema.ensure(store)
    return store
