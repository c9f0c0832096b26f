"""Deleting runs: hidden at once, then freed in the background without keeping others waiting."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from service.errors import RunConflict, StoreFull
from service.flows.heartbeats import HeartbeatMonitor
from service.store import deleted_runs, disk_space, imports, run_lifecycle, runs
from service.store.run_status import TERMINAL_STATUSES, RunStatus
from service.store.store import Store

BATCH_SECONDS = 0.05
"""What a transaction of the deletion may take: others wait for one of them at most."""

MIN_PAGES, MAX_PAGES = 16, 2048
"""Of a batch: 64 KiB to 8 MiB."""

IMPORT_TIMEOUT_SECONDS = 600.0
"""An import that wrote nothing for so long was interrupted."""

PAUSES_PER_BATCH = 2.0
"""SQLite does not queue its writers, they ask again and again: most of the time nobody writes."""


def delete_run(store: Store, run_id: int) -> None:
    """Delete a run: it is gone when this returns, and `Deletion` frees its space.

    Raises RunNotFound, RunConflict if it trains.
    """
    with store.write_session() as session:
        run = runs.get_for_update(session, run_id)
        if run.status not in (*TERMINAL_STATUSES, RunStatus.QUEUED):
            raise RunConflict(f"Run {run_id} is running; cancel it first.")
        run_lifecycle.mark_deleted(session, run_id)


@dataclass
class DeletedRunCleaner:
    """Frees rows, blobs and file space of deleted runs in transactions of BATCH_SECONDS.

    Several processes may do so at once, and one that was interrupted goes on.
    """

    store: Store
    _pages_per_batch: int = MIN_PAGES  # of the next batch, adapted to the disk's speed
    _imports: HeartbeatMonitor[int, int] = field(default_factory=HeartbeatMonitor)

    def free_space(self, seconds: float = math.inf) -> bool:
        """Free all, or what can be freed in about so many seconds; whether all is freed.

        Raises StoreBusy, StoreFull.
        """
        deadline = time.monotonic() + seconds
        self._delete_interrupted_imports()
        with self.store.read_session() as session:
            run_ids = deleted_runs.list_ids(session)
        # A phase for all runs after the other: pages moved into holes are not freed soon after.
        batches: list[Callable[[], bool]] = [
            *(partial(self._free_batch, run_id) for run_id in run_ids),
            *([self._vacuum] if run_ids else []),
            *(partial(self._remove, run_id) for run_id in run_ids),
        ]
        for batch in batches:
            while self._run_batch(batch):
                if time.monotonic() > deadline:
                    return False
        return True

    def _delete_interrupted_imports(self) -> None:
        """Delete what imports left whose heartbeats, by this process's clock, have stopped."""
        now_seconds = time.monotonic()
        with self.store.read_session() as session:
            heartbeats = imports.get_heartbeats(session)
        self._imports.observe(heartbeats, now_seconds)
        for run_id, count in self._imports.stopped_heartbeats(
            now_seconds, IMPORT_TIMEOUT_SECONDS
        ).items():
            with self.store.write_session() as session:
                imports.abandon(session, run_id, count)

    def _run_batch(self, batch: Callable[[], bool]) -> bool:
        """One batch and a pause; whether there are more of its kind."""
        start_seconds = time.perf_counter()
        try:
            has_more = batch()
        except StoreFull:
            # A smaller one needs a smaller journal.
            if self._pages_per_batch == MIN_PAGES:
                raise
            self._pages_per_batch = MIN_PAGES
            return True
        seconds = time.perf_counter() - start_seconds
        if seconds > BATCH_SECONDS:
            self._pages_per_batch = max(MIN_PAGES, self._pages_per_batch // 2)
        elif seconds < BATCH_SECONDS / 2:
            self._pages_per_batch = min(MAX_PAGES, self._pages_per_batch * 2)
        if has_more:
            time.sleep(PAUSES_PER_BATCH * seconds)
        return has_more

    def _free_batch(self, run_id: int) -> bool:
        with self.store.write_session() as session:
            return deleted_runs.free_batch(session, self.store.blobs, run_id, self._pages_per_batch)

    def _vacuum(self) -> bool:
        return disk_space.incremental_vacuum(self.store.engine, self._pages_per_batch) > 0

    def _remove(self, run_id: int) -> bool:
        with self.store.write_session() as session:
            deleted_runs.delete_run(session, self.store.blobs, run_id)
        disk_space.truncate_wal(self.store.engine)
        return False
