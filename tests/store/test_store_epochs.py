"""Epochs in order, each with its checkpoint."""

from datetime import UTC, datetime, timedelta

import pytest

from service.errors import EpochNotFound, RunNotFound
from service.store import epochs, run_lifecycle
from service.store.epochs import Checkpoint, EpochMetrics
from service.store_errors import StatementRefused

UNTRAINED = EpochMetrics(None, None, 2.3, 0.1, [0.0, 0.2], 1.0, 0.25)
# Values that a single-precision column would round.
EXACT = EpochMetrics(1 / 3, 2 / 3, 1e-300, 1 - 2**-53, [0.1, 1 / 7], 5e-324, 1e15 + 0.125)


def numbers(rows: list[epochs.Epoch]) -> list[int]:
    return [epoch.epoch for epoch in rows]


@pytest.mark.parametrize("metrics", [UNTRAINED, EXACT], ids=["untrained", "exact"])
def test_epoch_is_returned_as_added(store, new_run, add_epoch, metrics):
    run = new_run()
    checkpoint = add_epoch(run, 2, metrics)
    with store.read_session() as session:
        epoch = epochs.get(session, run.id, 2)
    assert (epoch.run_id, epoch.epoch) == (run.id, 2)
    assert epoch.metrics == metrics
    assert epoch.checkpoint == checkpoint
    assert epoch.created_at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - epoch.created_at) < timedelta(minutes=5)


def test_missing_epoch_is_refused_with_the_existing_range(store, new_run, add_epoch):
    run = new_run()
    with store.read_session() as session, pytest.raises(EpochNotFound, match="it has none yet"):
        epochs.get(session, run.id, 0)
    with store.write_session() as session:
        run_lifecycle.claim(session, run.id)
        run_lifecycle.advance(session, run.id, 4)
    add_epoch(run, 4)
    with store.read_session() as session, pytest.raises(EpochNotFound, match=r"epoch 5: .* 0 to 4"):
        epochs.get(session, run.id, 5)


def test_epochs_of_a_missing_run_are_not_found(store):
    with store.read_session() as session:
        with pytest.raises(RunNotFound):
            epochs.get(session, 0, 0)
        with pytest.raises(RunNotFound):
            epochs.list_epochs(session, 0)


def test_epochs_are_listed_in_order(store, new_run, add_epoch):
    run, other_run, empty_run = new_run(), new_run(), new_run()
    for epoch in (3, 0, 10, 2, 1):
        add_epoch(run, epoch)
    add_epoch(other_run, 7)
    with store.read_session() as session:
        assert numbers(epochs.list_epochs(session, run.id)) == [0, 1, 2, 3, 10]
        assert numbers(epochs.list_epochs(session, run.id, numbers=[10, 0, 5])) == [0, 10]
        assert numbers(epochs.list_epochs(session, run.id, numbers=[])) == []
        assert numbers(epochs.list_epochs(session, run.id, after=1)) == [2, 3, 10]
        assert numbers(epochs.list_epochs(session, run.id, after=1, limit=2)) == [2, 3]
        assert numbers(epochs.list_epochs(session, run.id, limit=1)) == [0]
        assert numbers(epochs.list_epochs(session, empty_run.id)) == []


def test_thousands_of_epochs_can_be_selected_at_once(store, new_run, add_epoch):
    run = new_run()
    for epoch in (0, 5, 999):
        add_epoch(run, epoch)
    with store.read_session() as session:
        rows = epochs.list_epochs(session, run.id, numbers=list(range(10_000)))
    assert numbers(rows) == [0, 5, 999]


def test_epoch_cannot_be_added_twice(store, new_run, add_epoch):
    run = new_run()
    add_epoch(run, 0, UNTRAINED)
    with pytest.raises(StatementRefused):
        add_epoch(run, 0, EXACT)
    with store.read_session() as session:
        assert epochs.get(session, run.id, 0).metrics == UNTRAINED


def test_epoch_requires_its_run(store):
    with pytest.raises(StatementRefused), store.write_session() as session:
        epochs.add(session, 0, 0, UNTRAINED, Checkpoint("0" * 64, 1, "key"))
