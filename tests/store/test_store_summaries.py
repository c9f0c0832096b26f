"""Summaries of a page of runs, computed by two queries."""

from dataclasses import replace

import pytest
from sqlalchemy import event

from service.store import heatmaps, images, run_lifecycle, runs, summaries
from service.store.heatmaps import Heatmap
from service.store.images import StoredImage
from tests.store.conftest import METRICS

METHODS = ("conventional", "proposed")
SEVEN = StoredImage("digits", "test:7", 7, b"7")


@pytest.fixture
def new_trained_run(store, new_run, add_epoch):
    """Creates runs up to epoch `last` whose test accuracy is epoch / 1000."""

    def make(last: int) -> runs.Run:
        run = new_run()
        with store.write_session() as session:
            run_lifecycle.claim(session, run.id)
            images.set_probes(session, run.id, [SEVEN])
            run_lifecycle.advance(session, run.id, last)
        for epoch in range(last + 1):
            add_epoch(run, epoch, replace(METRICS, test_accuracy=epoch / 1000))
        return run

    return make


@pytest.mark.parametrize(
    ("last", "step"), [(0, 1), (1, 1), (9, 1), (10, 2), (11, 2), (18, 2), (19, 3), (95, 11)]
)
def test_accuracies_are_evenly_sampled_and_end_with_the_last(store, new_trained_run, last, step):
    run = new_trained_run(last)
    with store.read_session() as session:
        accuracies = summaries.sample_accuracies(session, [run.id], 10)[run.id]
    expected = list(range(last, -1, -step))[::-1]
    assert [round(accuracy * 1000) for accuracy in accuracies] == expected
    assert len(accuracies) <= 10


def test_blank_maps_of_probes_are_counted_for_their_labels_from_epoch_1(store, new_trained_run):
    run, other_run = new_trained_run(2), new_trained_run(1)
    blank_map = Heatmap(run.id, 1, "test:7", 7, "proposed", "conv2", 0, 0, 1, "saturated", "e")
    rows = [
        blank_map,
        replace(blank_map, epoch=2, blank="none"),
        replace(blank_map, epoch=0),
        replace(blank_map, epoch=2, class_index=3),
        replace(blank_map, image="test:8", class_index=8),
        replace(blank_map, layer="pool"),
        replace(blank_map, method="layer-cam"),
        replace(blank_map, run_id=other_run.id, method="conventional"),
    ]
    with store.write_session() as session:
        heatmaps.add_missing(session, rows)
    with store.read_session() as session:
        counts = summaries.count_blank_maps(session, [run.id, other_run.id], METHODS)
    assert counts == {
        (run.id, "conv2", "proposed"): (2, 1),
        (run.id, "pool", "proposed"): (1, 1),
        (other_run.id, "conv2", "conventional"): (1, 1),
    }


def test_number_of_queries_does_not_grow_with_the_runs(store, new_trained_run):
    ids = [new_trained_run(1).id for _ in range(5)]
    queries: list[str] = []
    event.listen(
        store.engine, "before_cursor_execute", lambda *arguments: queries.append(arguments[2])
    )
    with store.read_session() as session:
        accuracies = summaries.sample_accuracies(session, ids, 40)
        summaries.count_blank_maps(session, ids, METHODS)
    assert len([query for query in queries if query.startswith("SELECT")]) == 2
    assert accuracies == {run_id: [0.0, 0.001] for run_id in ids}
