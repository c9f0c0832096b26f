"""What must hold after every fault, whatever it was."""

import hashlib
import sqlite3
from pathlib import Path

from service.store import epochs, runs, training_states
from service.store.blobs.file import TEMPORARIES
from service.store.store import Store


def check(store: Store, folder: Path) -> None:
    """Every run of the store: epochs 0..n whole and verified, one row each; no temporary file."""
    with store.reading() as session:
        for run in runs.newest(session, limit=1000):
            kept = epochs.all_of(session, run.id)
            assert [one.epoch for one in kept] == list(range(run.epochs_done + 1))
            assert run.epochs_done <= run.epochs_total == run.spec["epochs"]
            named = [(one.checkpoint.blob_key, one.checkpoint.sha256) for one in kept]
            state = training_states.find(session, run.id)
            if state is not None:
                named.append((state.blob_key, state.sha256))
            assert (state.epoch if state else -1) == run.epochs_done
            for key, sha256 in named:
                assert hashlib.sha256(store.blobs.get(session, key)).hexdigest() == sha256
            if run.finished_at and run.started_at:
                assert run.created_at <= run.started_at <= run.finished_at
    ended = all(run.status in runs.TERMINAL for run in _all(store))
    if ended:
        assert not [path for path in folder.rglob("*") if path.name.startswith(TEMPORARIES)]
    for file in folder.glob("*.db"):
        with sqlite3.connect(file) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def weights(store: Store, run_id: int) -> list[str]:
    """The sha256 of each epoch's checkpoint, in order."""
    with store.reading() as session:
        return [one.checkpoint.sha256 for one in epochs.all_of(session, run_id)]


def _all(store: Store) -> list[runs.Run]:
    with store.reading() as session:
        return runs.newest(session, limit=1000)
