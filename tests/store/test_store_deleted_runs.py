"""A deleted run disappears from every query at once; its space is freed in batches."""

import math
from collections.abc import Callable

import pytest
from sqlalchemy import func, select

from service.errors import EpochNotFound, RunNotFound
from service.store import (
    deleted_runs,
    divergences,
    epoch_insights,
    epochs,
    events,
    exchange_tests,
    heatmaps,
    images,
    networks,
    predictions,
    run_blobs,
    run_lifecycle,
    runs,
    step_metrics,
    summaries,
    tensors,
    training_states,
)
from service.store.divergences import Divergence
from service.store.epoch_insights import StoredInsight
from service.store.exchange_tests import StoredExchangeTest
from service.store.heatmaps import Heatmap
from service.store.images import StoredImage
from service.store.networks import StoredNetwork
from service.store.predictions import Prediction
from service.store.rows import Base, CheckpointRow, RunRow
from service.store.rows_of_epochs import ROWS_OF_EPOCHS
from service.store.run_status import HiddenStatus, RunStatus
from service.store.runs import Run
from service.store.store import Store
from service.store.tensors import StoredTensor
from service.store.training_states import StoredTrainingState

UNRELATED_TABLES = {
    *("tokens", "sessions", "audit", "request_keys", "uploads", "jobs", "leaders"),
    *("tensor_uploads", "experiments"),
}
NETWORK = StoredNetwork("a" * 64, b"{}", "conv2")
TENSOR = StoredTensor("b" * 64, "float32", [1], 76, "tensors/b", 1, 0)
ONE_BLOB_PER_BATCH = 1
"""A batch of one page: a batch frees at least one blob, here of five bytes."""


@pytest.fixture
def run_with_rows(store: Store, new_run, add_epoch) -> Callable[[], Run]:
    """Creates runs with rows in every table that refers to runs."""

    def create() -> Run:
        run = new_run(name="complete", tags=("x", "y"))
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
            for epoch in (0, 1):
                insight = StoredInsight(run.id, epoch, {}, b"", None, None)
                epoch_insights.add_missing(session, insight)
            predictions.add_missing(
                session, [Prediction(run.id, epoch, "test:7", [0.5, 0.5]) for epoch in (0, 1)]
            )
            exchange_tests.add_missing(session, StoredExchangeTest(run.id, 1, {"gap": None}))
            key = training_states.state_key(run.id, 1)
            store.blobs.put(session, key, b"state")
            divergences.add(session, run.id, Divergence(2, 1, [2.3, math.inf], [0.5, 7.0]))
            training_states.add(session, run.id, StoredTrainingState(1, "0" * 64, 5, key))
            networks.add(session, NETWORK)
            networks.set_of_run(session, run.id, NETWORK.id)
            if tensors.get(session, TENSOR.sha256) is None:
                tensors.add(session, TENSOR)
            tensors.add_references(session, run.id, 1, [TENSOR.sha256])
            step_metrics.add(session, run.id, 1, {"loss": [(0, 0.5)]})
            run_lifecycle.finish(
                session, run.id, RunStatus.CANCELLED, from_statuses=(RunStatus.QUEUED,)
            )
        return run

    return create


def mark_deleted(store: Store, run: Run) -> None:
    with store.write_session() as session:
        run_lifecycle.mark_deleted(session, run.id)


def row_counts(store: Store) -> dict[str, int]:
    with store.read_session() as session:
        return {
            table.name: session.scalar(select(func.count()).select_from(table)) or 0
            for table in Base.metadata.sorted_tables
            if table.name not in UNRELATED_TABLES
        }


def free_batches(store: Store, run: Run, pages: int) -> int:
    """Frees everything but the run's own row; returns the number of batches."""
    count = 0
    while True:
        with store.write_session() as session:
            if not deleted_runs.free_batch(session, store.blobs, run.id, pages):
                return count
        count += 1


def test_no_query_returns_a_deleted_run_whose_rows_still_exist(store: Store, run_with_rows) -> None:
    run = run_with_rows()
    rows = row_counts(store)
    mark_deleted(store, run)
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
        assert runs.list_newest(session, limit=10, tag="x", search="complete") == []
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
        assert epoch_insights.list_documents(session, run.id) == []
        assert epoch_insights.list_all(session, run.id) == []
        assert epoch_insights.get(session, run.id, 1) is None
        assert predictions.list_for_epoch(session, run.id, 1) == []
        assert predictions.list_for_image(session, run.id, "test:7") == []
        assert training_states.get(session, run.id) is None
        assert summaries.sample_accuracies(session, [run.id], 40) == {run.id: []}
        assert summaries.count_blank_maps(session, [run.id], ["proposed"]) == {}


def test_deleted_run_cannot_be_changed(store: Store, new_run, add_epoch) -> None:
    run = new_run()
    add_epoch(run, 0)
    mark_deleted(store, run)
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
        runs.check_queue_limit(session, 1)  # a deleted run does not count as queued
    with store.read_session() as session:
        assert session.scalar(select(RunRow.status)) == HiddenStatus.DELETING


@pytest.mark.parametrize("pages", [ONE_BLOB_PER_BATCH, 3, 1000])
def test_freeing_a_run_leaves_all_other_rows(store: Store, run_with_rows, pages: int) -> None:
    other_run = run_with_rows()
    with store.read_session() as session:
        other_run = runs.get(session, other_run.id)
    initial_counts = row_counts(store)
    assert all(initial_counts.values())
    deleted = run_with_rows()
    mark_deleted(store, deleted)
    assert free_batches(store, deleted, pages) > 1
    with store.write_session() as session:
        deleted_runs.delete_run(session, store.blobs, deleted.id)
    assert row_counts(store) == initial_counts
    with store.read_session() as session:
        assert deleted_runs.list_ids(session) == []
        assert runs.get(session, other_run.id) == other_run
        assert len(epochs.list_epochs(session, other_run.id)) == 2
        assert store.blobs.get(session, training_states.state_key(other_run.id, 1)) == b"state"


def test_batch_does_not_exceed_its_size(store: Store, run_with_rows) -> None:
    run = run_with_rows()
    mark_deleted(store, run)
    rows_left = sum(row_counts(store).values())
    with store.read_session() as session:
        blobs_left = len(list(run_blobs.list_run_blobs(session)))
    while True:
        with store.write_session() as session:
            if not deleted_runs.free_batch(session, store.blobs, run.id, 2):
                break
        with store.read_session() as session:
            blob_count = len(list(run_blobs.list_run_blobs(session)))
        row_count = sum(row_counts(store).values())
        # A blob has two rows: its bytes and the row that refers to them.
        assert (
            1
            <= rows_left - row_count
            <= (2 if blob_count == blobs_left else 2 * (blobs_left - blob_count))
        )
        rows_left, blobs_left = row_count, blob_count


def test_run_with_remaining_rows_keeps_its_own_row(store: Store, run_with_rows) -> None:
    run = run_with_rows()
    mark_deleted(store, run)
    with store.write_session() as session:
        deleted_runs.delete_run(session, store.blobs, run.id)
    with store.read_session() as session:
        assert deleted_runs.list_ids(session) == [run.id]
        assert len(list(run_blobs.list_run_blobs(session, run.id))) == 3


def test_run_that_is_not_deleted_is_never_freed(store: Store, run_with_rows) -> None:
    run = run_with_rows()
    initial_counts = row_counts(store)
    with store.write_session() as session:
        assert not deleted_runs.free_batch(session, store.blobs, run.id, 1000)
        deleted_runs.delete_run(session, store.blobs, run.id)
        deleted_runs.delete_run(session, store.blobs, run.id + 1)
    assert row_counts(store) == initial_counts


def test_blob_bytes_of_deleted_runs_do_not_count_against_the_quota(
    store: Store, run_with_rows
) -> None:
    run = run_with_rows()
    with store.read_session() as session:
        used_bytes = store.quota.used_bytes(session)
        size = sum(blob.bytes for blob in run_blobs.list_run_blobs(session, run.id))
    mark_deleted(store, run)
    with store.read_session() as session:
        assert deleted_runs.blob_bytes(session) == size > 0
        assert store.quota.used_bytes(session) <= used_bytes - size


def test_every_table_that_refers_to_epochs_is_listed() -> None:
    # Rows with blobs are freed together with them.
    listed_rows = (*ROWS_OF_EPOCHS, CheckpointRow)
    listed_tables = {table.__tablename__ for table in listed_rows}
    referring_tables = {
        table.name
        for table in Base.metadata.sorted_tables
        if any(key.referred_table.name == "epochs" for key in table.foreign_key_constraints)
    }
    assert referring_tables == listed_tables
