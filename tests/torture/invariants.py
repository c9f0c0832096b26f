"""Conditions that hold after every fault."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from service.store import epochs, events, heatmaps, inspection, predictions, runs, training_states
from service.store.blobs.file import TEMPORARY_PREFIXES
from service.store.run_status import TERMINAL_STATUSES, RunStatus
from service.store.runs import Run
from service.store.store import Store


def check(store: Store, folder: Path, *, at_rest: bool = True) -> None:
    """Check that every run has complete epochs 0..n, one row each, and no temporary files.

    A training state is replaced by the next one: its bytes are verified only `at_rest`.
    """
    with snapshot(store) as session:
        all_runs = runs.list_newest(session, limit=1000)
        for run in all_runs:
            _check_run(store, session, run, at_rest)
        assert inspection.count_orphans(session) == 0
        assert not list(inspection.check_integrity(session))
    if all(run.status in TERMINAL_STATUSES for run in all_runs):
        assert not [path for path in folder.rglob("*") if path.name.startswith(TEMPORARY_PREFIXES)]
    for file in folder.glob("*.db"):
        with sqlite3.connect(file) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _check_run(store: Store, session: Session, run: Run, at_rest: bool) -> None:
    epoch_rows = epochs.list_epochs(session, run.id)
    assert [epoch.epoch for epoch in epoch_rows] == list(range(run.epochs_done + 1))
    assert inspection.list_epoch_numbers(session, run.id) == list(range(run.epochs_done + 1))
    assert run.epochs_done <= run.epochs_total == run.spec["epochs"]
    assert (run.epochs_done == run.epochs_total) or run.status != RunStatus.SUCCEEDED
    assert (run.lease_owner is None) == (run.status != RunStatus.RUNNING)
    blobs = [(epoch.checkpoint.blob_key, epoch.checkpoint.sha256) for epoch in epoch_rows]
    state = training_states.get(session, run.id)
    assert (state.epoch if state else -1) == run.epochs_done
    if state is not None and at_rest:
        blobs.append((state.blob_key, state.sha256))
    for key, sha256 in blobs:
        assert hashlib.sha256(store.blobs.get(session, key)).hexdigest() == sha256
    event_rows = events.list_after(session, run.id, 0)
    assert [event.number for event in event_rows] == list(range(1, len(event_rows) + 1))
    assert [event.data["epoch"] for event in event_rows if event.type == events.EPOCH] == [
        epoch.epoch for epoch in epoch_rows
    ]
    if run.finished_at and run.started_at:
        assert run.created_at <= run.started_at <= run.finished_at


@contextmanager
def snapshot(store: Store) -> Iterator[Session]:
    """A read transaction that sees one state of the database, whoever writes meanwhile."""
    if store.engine.dialect.name == "postgresql":
        store = replace(
            store, engine=store.engine.execution_options(isolation_level="REPEATABLE READ")
        )
    with store.read_session() as session:
        yield session


def weights(store: Store, run_id: int) -> list[str]:
    """The sha256 of each epoch's checkpoint, in order."""
    with store.read_session() as session:
        return [epoch.checkpoint.sha256 for epoch in epochs.list_epochs(session, run_id)]


def trace(store: Store, run_id: int) -> list[dict[str, Any]]:
    """The results of training that do not depend on the clock; equal for equal runs."""
    with store.read_session() as session:
        state = training_states.get(session, run_id)
        assert state is not None
        return [{"state": (state.epoch, state.sha256)}] + [
            asdict(epoch.metrics)
            | {
                "seconds": None,
                "checkpoint": epoch.checkpoint.sha256,
                "maps": sorted(
                    (row.etag, row.peak, row.minimum, hashlib.sha256(row.levels).hexdigest())
                    for row in heatmaps.list_for_epoch(session, run_id, epoch.epoch)
                ),
                "predictions": [
                    (row.image, tuple(row.probabilities))
                    for row in predictions.list_for_epoch(session, run_id, epoch.epoch)
                ],
            }
            for epoch in epochs.list_epochs(session, run_id)
        ]
