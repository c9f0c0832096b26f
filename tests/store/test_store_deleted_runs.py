"""A deleted run is gone for every query at once; what it takes is freed batch by batch."""

from collections.abc import Callable

import pytest
from sqlalchemy import func, select

from service.errors import EpochNotFound, RunNotFound
from service.store import (
    deleted_runs,
    epochs,
    events,
    heatmaps,
    images,
    predictions,
    run_blobs,
    run_lifecycle,
    runs,
    summaries,
    training_states,
)
from service.store.heatmaps import Heatmap
from service.store.images import StoredImage
from service.store.predictions import Prediction
from service.store.rows import Base, RunRow
from service.store.run_status import HiddenStatus, RunStatus
from service.store.runs import Run
from service.store.store import Store
from service.store.training_states import StoredTrainingState

KEPT_TABLES = {"tokens", "sessions", "audit", "request_keys", "uploads", "jobs"}
ONE_BLOB_A_BATCH = 1
"""Pages; each blob here has five bytes, and is still the least that a batch frees."""


@pytest.fixture
def run_with_rows(store: Store, new_run, add_epoch) -> Callable[[], Run]:
    """Makes runs with a row in every table that runs have rows in."""

    def create() -> Run:
        run = new_run(name="whole", tags=("x", "y"))
        for epoch in (0, 1):
            add_epoch(run, epoch)
        with store.write_session() as session:
            images.set_probes(session, run.id, [StoredImage("digits", "test:7", 3, b"png")])
            maps = [
                Heatmap(run.id, epoch, "test:7", c, "proposed", "conv2", 1, 0, 1, "none", "e")
                for epoch in (0, 1)
                for c in range(5)
            ]
            heatmaps.add_missing(session, maps)
            predictions.add_missing(
                session, [Prediction(run.id, epoch, "test:7", [0.5, 0.5]) for epoch in (0, 1)]
            )
            key = training_states.state_key(run.id, 1)
            store.blobs.put(session, key, b"state")
            training_states.replace(session, run.id, StoredTrainingState(1, "0" * 64, 5, key))
            run_lifecycle.finish(
                session, run.id, RunStatus.CANCELLED, from_statuses=(RunStatus.QUEUED,)
            )
        return run

    return create


def mark(store: Store, run: Run) -> None:
    with store.write_session() as session:
        run_lifecycle.mark_deleted(session, run.id)


def row_counts(store: Store) -> dict[str, int]:
    with store.read_session() as session:
        return {
            table.name: session.scalar(select(func.count()).select_from(table)) or 0
            for table in Base.metadata.sorted_tables
            if table.name not in KEPT_TABLES
        }


def free_batches(store: Store, run: Run, pages: int) -> int:
    """Frees all but the run's own row; how many batches that takes."""
    count = 0
    while True:
        with store.write_session() as session:
            if not deleted_runs.free_batch(session, store.blobs, run.id, pages):
                return count
        count += 1


def test_every_query_treats_a_deleted_run_as_gone_though_its_rows_are_there(
    store: Store, run_with_rows
) -> None:
    run = run_with_rows()
    rows = row_counts(store)
    mark(store, run)
    assert row_counts(store) == rows
    with store.read_session() as session:
        for query in (runs.get, runs.get_for_update, epochs.list_epochs):
            with pytest.raises(RunNotFound):
                query(session, run.id)
        with pytest.raises((RunNotFound, EpochNotFound)):
            epochs.get(session, run.id, 1)
        assert runs.get_progress(session, run.id) is None
        assert not runs.lock_shared(session, run.id)
        assert run_lifecycle.is_cancel_requested(session, run.id)
        assert runs.list_newest(session, limit=10) == []
        assert runs.list_newest(session, limit=10, tag="x", search="whole") == []
        assert not any(runs.count_by_status(session).values())
        assert not any(runs.list_by_status(session, status) for status in RunStatus)
        assert epochs.count_totals(session) == (0, 0, 0)
        assert events.list_after(session, run.id, 0) == []
        assert images.list_probes(session, run.id) == []
        assert images.count_probes(session, run.id) == 0
        assert heatmaps.list_for_epoch(session, run.id, 1) == []
        assert heatmaps.list_for_image(session, run.id, "test:7", 3, "proposed", "conv2") == []
        assert heatmaps.list_for_probes(session, run.id, "conv2") == []
        levels = ("conv2", ["proposed"], ["test:7"], [3], (0, 9))
        assert heatmaps.list_levels(session, run.id, *levels) == []
        assert predictions.list_for_epoch(session, run.id, 1) == []
        assert predictions.list_for_image(session, run.id, "test:7") == []
        assert training_states.get(session, run.id) is None
        assert summaries.sample_accuracies(session, [run.id], 40) == {run.id: []}
        assert summaries.count_blank_maps(session, [run.id], ["proposed"]) == {}


def test_nothing_changes_a_deleted_run(store: Store, new_run, add_epoch) -> None:
    run = new_run()
    add_epoch(run, 0)
    mark(store, run)
    lease = run_lifecycle.Lease(run.id, run.attempt, run_lifecycle.NO_OWNER)
    with store.write_session() as session:
        assert run_lifecycle.claim(session, run.id) is None
        assert not run_lifecycle.update_heartbeat(session, run.id)
        assert not run_lifecycle.advance(session, run.id, 1)
        assert not run_lifecycle.finish(session, run.id, RunStatus.FAILED)
        assert not run_lifecycle.requeue(session, lease, lost_workers=1)
        assert not run_lifecycle.resume(session, run.id, {}, 9)
        assert not run_lifecycle.request_cancel(session, run.id)
        assert not epochs.quarantine(session, run.id, 0, "missing")
        runs.check_queue_limit(session, 1)  # it does not wait any more
    with store.read_session() as session:
        assert session.scalar(select(RunRow.status)) == HiddenStatus.DELETING


@pytest.mark.parametrize("pages", [ONE_BLOB_A_BATCH, 3, 1000])
def test_a_freed_run_leaves_what_was_there_before_it(
    store: Store, run_with_rows, pages: int
) -> None:
    kept = run_with_rows()
    with store.read_session() as session:
        kept = runs.get(session, kept.id)
    before = row_counts(store)
    assert all(before.values())
    deleted = run_with_rows()
    mark(store, deleted)
    assert free_batches(store, deleted, pages) > 1
    with store.write_session() as session:
        deleted_runs.delete_run(session, store.blobs, deleted.id)
    assert row_counts(store) == before
    with store.read_session() as session:
        assert deleted_runs.list_ids(session) == []
        assert runs.get(session, kept.id) == kept
        assert len(epochs.list_epochs(session, kept.id)) == 2
        assert store.blobs.get(session, training_states.state_key(kept.id, 1)) == b"state"


def test_a_batch_frees_no_more_than_it_may(store: Store, run_with_rows) -> None:
    run = run_with_rows()
    mark(store, run)
    left = sum(row_counts(store).values())
    with store.read_session() as session:
        blobs_left = len(list(run_blobs.list_run_blobs(session)))
    while True:
        with store.write_session() as session:
            if not deleted_runs.free_batch(session, store.blobs, run.id, 2):
                break
        with store.read_session() as session:
            blob_rows = len(list(run_blobs.list_run_blobs(session)))
        now = sum(row_counts(store).values())
        # A blob is two rows: its bytes and what names them.
        assert 1 <= left - now <= (2 if blob_rows == blobs_left else 2 * (blobs_left - blob_rows))
        left, blobs_left = now, blob_rows


def test_a_run_with_rows_left_keeps_its_own_row(store: Store, run_with_rows) -> None:
    run = run_with_rows()
    mark(store, run)
    with store.write_session() as session:
        deleted_runs.delete_run(session, store.blobs, run.id)
    with store.read_session() as session:
        assert deleted_runs.list_ids(session) == [run.id]
        assert len(list(run_blobs.list_run_blobs(session, run.id))) == 3


def test_a_run_that_is_not_deleted_is_never_freed(store: Store, run_with_rows) -> None:
    run = run_with_rows()
    before = row_counts(store)
    with store.write_session() as session:
        assert not deleted_runs.free_batch(session, store.blobs, run.id, 1000)
        deleted_runs.delete_run(session, store.blobs, run.id)
        deleted_runs.delete_run(session, store.blobs, run.id + 1)
    assert row_counts(store) == before


def test_blob_bytes_of_deleted_runs_do_not_count_against_the_quota(
    store: Store, run_with_rows
) -> None:
    run = run_with_rows()
    with store.read_session() as session:
        used = store.quota.used_bytes(session)
        size = sum(blob.bytes for blob in run_blobs.list_run_blobs(session, run.id))
    mark(store, run)
    with store.read_session() as session:
        assert deleted_runs.blob_bytes(session) == size > 0
        assert store.quota.used_bytes(session) <= used - size
