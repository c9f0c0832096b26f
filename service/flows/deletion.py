"""Deletion of runs: hidden at once, freed in the background without blocking other writers."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from service.errors import RunConflict
from service.flows.heartbeats import HeartbeatMonitor
from service.store import (
    deleted_runs,
    disk_space,
    imports,
    networks,
    run_lifecycle,
    runs,
    tensors,
)
from service.store.run_status import TERMINAL_STATUSES, RunStatus
from service.store.store import Store
from service.store_errors import StoreFull

BATCH_SECONDS = 0.05
"""Target duration of a transaction: other writers wait for at most one of them."""

MIN_PAGES, MAX_PAGES = 16, 2048
"""Database pages per batch: 64 KiB to 8 MiB."""

IMPORT_TIMEOUT_SECONDS = 600.0
"""An import without a heartbeat for this long has been interrupted."""

PAUSES_PER_BATCH = 2.0
"""Pause after a batch, as a multiple of its duration. SQLite has no queue of writers, they retry:
the database has to be unlocked most of the time."""


def delete_run(store: Store, run_id: int) -> None:
    """Hide a run from all queries at once; `DeletedRunCleaner` frees its space later.

    Raises RunNotFound, and RunConflict if it is running.
    """
    with store.write_session() as session:
        run = runs.get_for_update(session, run_id)
        if run.status not in (*TERMINAL_STATUSES, RunStatus.QUEUED):
            raise RunConflict(f"Run {run_id} is {run.status}; cancel it first.")
        run_lifecycle.mark_deleted(session, run_id)


@dataclass
class BatchPacer:
    """Runs batches of deletions in transactions of BATCH_SECONDS, with pauses between them."""

    pages_per_batch: int = MIN_PAGES  # adapted to the speed of the disk

    def run_batch(self, batch: Callable[[], bool]) -> bool:
        """Run one batch, then pause; whether more batches of its kind remain."""
        start_seconds = time.perf_counter()
        try:
            has_more = batch()
        except StoreFull:
            # A smaller batch needs a smaller journal.
            if self.pages_per_batch == MIN_PAGES:
                raise
            self.pages_per_batch = MIN_PAGES
            return True
        seconds = time.perf_counter() - start_seconds
        if seconds > BATCH_SECONDS:
            self.pages_per_batch = max(MIN_PAGES, self.pages_per_batch // 2)
        elif seconds < BATCH_SECONDS / 2:
            self.pages_per_batch = min(MAX_PAGES, self.pages_per_batch * 2)
        if has_more:
            time.sleep(PAUSES_PER_BATCH * seconds)
        return has_more


@dataclass
class UnusedTensorCleaner:
    """Deletes tensors, unfinished uploads and networks that are not used, after a grace period.

    Several processes may do so concurrently.
    """

    store: Store
    _pacer: BatchPacer = field(default_factory=BatchPacer)

    def free_space(self, seconds: float = math.inf) -> bool:
        """Free space for about `seconds`; returns whether all of it has been freed.

        Raises StoreBusy, StoreFull.
        """
        deadline = time.monotonic() + seconds
        for batch in (self._free_batch, self._vacuum):
            while self._pacer.run_batch(batch):
                if time.monotonic() > deadline:
                    return False
        with self.store.write_session() as session:
            networks.delete_unused(session)
        return True

    def _free_batch(self) -> bool:
        max_bytes = self._pacer.pages_per_batch * deleted_runs.PAGE_BYTES
        with self.store.write_session() as session:
            return tensors.delete_unused(session, self.store.blobs, max_bytes)

    def _vacuum(self) -> bool:
        return disk_space.incremental_vacuum(self.store.engine, self._pacer.pages_per_batch) > 0


@dataclass
class DeletedRunCleaner:
    """Frees rows, blobs and file space of deleted runs in transactions of BATCH_SECONDS.

    Several processes may do so concurrently. An interrupted deletion continues with the next call.
    """

    store: Store
    _pacer: BatchPacer = field(default_factory=BatchPacer)
    _imports: HeartbeatMonitor[int, int] = field(default_factory=HeartbeatMonitor)

    def free_space(self, seconds: float = math.inf) -> bool:
        """Free space for about `seconds`; returns whether all of it has been freed.

        Raises StoreBusy, StoreFull.
        """
        deadline = time.monotonic() + seconds
        self._delete_interrupted_imports()
        with self.store.read_session() as session:
            run_ids = deleted_runs.list_ids(session)
        # Each phase for all runs: the vacuum must not move pages that are freed right afterwards.
        batches: list[Callable[[], bool]] = [
            *(partial(self._free_batch, run_id) for run_id in run_ids),
            *([self._vacuum] if run_ids else []),
            *(partial(self._remove, run_id) for run_id in run_ids),
        ]
        for batch in batches:
            while self._pacer.run_batch(batch):
                if time.monotonic() > deadline:
                    return False
        return True

    def _delete_interrupted_imports(self) -> None:
        """Delete the runs of imports that have sent no heartbeat for IMPORT_TIMEOUT_SECONDS."""
        now_seconds = time.monotonic()
        with self.store.read_session() as session:
            heartbeats = imports.get_heartbeats(session)
        self._imports.observe(heartbeats, now_seconds)
        for run_id, count in self._imports.stopped_heartbeats(
            now_seconds, IMPORT_TIMEOUT_SECONDS
        ).items():
            with self.store.write_session() as session:
                imports.abandon(session, run_id, count)

    def _free_batch(self, run_id: int) -> bool:
        with self.store.write_session() as session:
            return deleted_runs.free_batch(
                session, self.store.blobs, run_id, self._pacer.pages_per_batch
            )

    def _vacuum(self) -> bool:
        return disk_space.incremental_vacuum(self.store.engine, self._pacer.pages_per_batch) > 0

    def _remove(self, run_id: int) -> bool:
        with self.store.write_session() as session:
            deleted_runs.delete_run(session, self.store.blobs, run_id)
        disk_space.truncate_wal(self.store.engine)
        return False
