"""Storing the metadata of computed maps and predictions."""

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import structlog

from service.store import heatmaps, predictions, runs, uploaded_images
from service.store.heatmaps import Heatmap
from service.store.predictions import Prediction
from service.store.store import Store
from service.store_errors import StoreFull, StoreUnavailable

MAX_PENDING_ROWS = 2_000
BATCH_DELAY_SECONDS = 0.25
"""How long the writer waits for more rows, so that a burst of requests is one transaction."""

log = structlog.get_logger()


@dataclass
class _Batch:
    heatmaps: list[Callable[[], Heatmap]] = field(default_factory=list)
    used_uploads: set[tuple[str, str]] = field(default_factory=set)  # dataset, reference

    def __len__(self) -> int:
        return len(self.heatmaps) + len(self.used_uploads)


class MapRecorder:
    """Stores rows at once (`record`) or behind the answer that they belong to (`record_later`).

    Every row can be computed again: one that the database does not take now is dropped.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._condition = threading.Condition()
        self._pending = _Batch()
        self._thread: threading.Thread | None = None
        self._is_closed = threading.Event()
        self._writing = threading.Lock()

    def record(
        self, rows: Sequence[Heatmap] = (), computed_predictions: Sequence[Prediction] = ()
    ) -> None:
        """Store rows in one transaction, before this returns."""
        self._write(rows, computed_predictions)

    def record_later(self, make_row: Callable[[], Heatmap]) -> None:
        """Make and store a row soon, in a batch with others, by a thread of its own."""
        with self._condition:
            self._wake_writer()
            if len(self._pending) < MAX_PENDING_ROWS:
                self._pending.heatmaps.append(make_row)

    def note_upload_use(self, dataset: str, reference: str) -> None:
        """Note that an upload is in use, with the next batch."""
        with self._condition:
            self._wake_writer()
            self._pending.used_uploads.add((dataset, reference))

    def flush(self) -> None:
        """Store everything pending, before this returns."""
        with self._writing:
            batch = self._take_pending()
            rows = [make_row() for make_row in batch.heatmaps]
            self._write(rows, (), batch.used_uploads)

    def close(self) -> None:
        """Store everything pending and end the thread."""
        with self._condition:
            self._is_closed.set()
            self._condition.notify_all()
        self.flush()
        if self._thread is not None:
            self._thread.join()

    def _wake_writer(self) -> None:
        """Start the thread if there is none, and wake it before the first row of a batch is added:
        waking it for each row would cost every request time.
        """
        if self._thread is None and not self._is_closed.is_set():
            self._thread = threading.Thread(target=self._run, name="map-recorder", daemon=True)
            self._thread.start()
        if not self._pending:
            self._condition.notify_all()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not (self._pending or self._is_closed.is_set()):
                    self._condition.wait()
            if self._is_closed.wait(BATCH_DELAY_SECONDS):
                return
            try:
                self.flush()
            except Exception:  # the thread has no caller, and has to outlive any error
                log.exception("rows of computed maps were not stored")

    def _take_pending(self) -> _Batch:
        with self._condition:
            batch, self._pending = self._pending, _Batch()
            return batch

    def _write(
        self,
        rows: Sequence[Heatmap],
        computed_predictions: Sequence[Prediction],
        used_uploads: Collection[tuple[str, str]] = (),
    ) -> None:
        if not (rows or computed_predictions or used_uploads):
            return
        try:
            with self._store.write_session() as session:
                for dataset, reference in used_uploads:
                    uploaded_images.mark_used(session, dataset, [reference])
                # A run may have been deleted in the meantime: its rows have no place then.
                run_ids = {row.run_id for row in rows}
                run_ids |= {row.run_id for row in computed_predictions}
                present = {run_id for run_id in run_ids if runs.lock_shared(session, run_id)}
                if not present:
                    return
                self._store.quota.check(session)
                heatmaps.add_or_complete(session, [r for r in rows if r.run_id in present])
                predictions.add_missing(
                    session, [p for p in computed_predictions if p.run_id in present]
                )
        except (StoreUnavailable, StoreFull) as error:
            log.warning("rows of computed maps were not stored", error=type(error).__name__)
