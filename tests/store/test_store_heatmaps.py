"""Metadata of maps: stored once, listed by image or for all probes."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from service.store import heatmaps, images
from service.store.heatmaps import Heatmap
from service.store.images import StoredImage
from service.store.rows import HeatmapRow
from service.store_errors import StatementRefused

SEVEN, ZERO = StoredImage("digits", "test:7", 7, b"7"), StoredImage("digits", "test:0", 0, b"0")


@pytest.fixture
def run(new_run, add_epoch):
    """A run of three epochs."""
    created = new_run()
    for epoch in range(3):
        add_epoch(created, epoch)
    return created


@pytest.fixture
def heatmap(run) -> Callable[..., Heatmap]:
    """Builds maps of the run with the given fields."""
    default_map = Heatmap(
        run_id=run.id,
        epoch=0,
        image="test:7",
        class_index=7,
        method="proposed",
        layer="conv2",
        peak=1 / 3,
        minimum=-1e-300,
        activation_peak=2.5,
        blank="none",
        etag="e" * 64,
    )
    return lambda **fields: replace(default_map, **fields)


def add_maps(store, *rows: Heatmap) -> None:
    with store.write_session() as session:
        heatmaps.add_missing(session, rows)


def count(store) -> int:
    with store.read_session() as session:
        return session.scalar(select(func.count()).select_from(HeatmapRow)) or 0


def test_map_is_returned_as_added(store, run, heatmap):
    add_maps(store, heatmap())
    with store.read_session() as session:
        rows = heatmaps.list_for_image(session, run.id, "test:7", 7, "proposed", "conv2")
    assert rows == [heatmap()]


def test_adding_a_map_again_changes_nothing(store, run, heatmap):
    add_maps(store, heatmap())
    add_maps(store, heatmap(peak=9.0, etag="other"), heatmap(epoch=1))
    add_maps(store, heatmap(), heatmap())
    with store.read_session() as session:
        rows = heatmaps.list_for_image(session, run.id, "test:7", 7, "proposed", "conv2")
    assert rows == [heatmap(), heatmap(epoch=1)]
    assert count(store) == 2


def test_adding_no_maps_is_no_error(store, run):
    add_maps(store)
    assert count(store) == 0


def test_maps_of_an_image_are_listed_by_epoch(store, run, heatmap):
    other_maps = [
        heatmap(image="test:0"),
        heatmap(class_index=3),
        heatmap(method="conventional"),
        heatmap(layer="conv1"),
    ]
    add_maps(store, heatmap(epoch=2), *other_maps, heatmap(epoch=0), heatmap(epoch=1))
    with store.read_session() as session:
        rows = heatmaps.list_for_image(session, run.id, "test:7", 7, "proposed", "conv2")
        assert heatmaps.list_for_image(session, run.id + 1, "test:7", 7, "proposed", "conv2") == []
    assert [row.epoch for row in rows] == [0, 1, 2]
    assert count(store) == 7


def test_maps_of_probes_are_listed_by_epoch_method_and_probe(store, run, heatmap):
    with store.write_session() as session:
        images.set_probes(session, run.id, [SEVEN, ZERO])
    expected = [
        heatmap(epoch=epoch, method=method, image=image, class_index=label)
        for epoch in (0, 1)
        for method in ("conventional", "proposed")
        for image, label in (("test:7", 7), ("test:0", 0))
    ]
    add_maps(
        store,
        *reversed(expected),
        heatmap(class_index=3),  # a probe's map for another class than its label
        heatmap(image="test:9", class_index=9),  # not a probe
        heatmap(layer="conv1"),
    )
    with store.read_session() as session:
        assert heatmaps.list_for_probes(session, run.id, "conv2") == expected


def test_maps_of_other_runs_are_not_listed(store, run, heatmap, new_run, add_epoch):
    other_run = new_run()
    add_epoch(other_run, 0)
    with store.write_session() as session:
        images.set_probes(session, run.id, [SEVEN])
        images.set_probes(session, other_run.id, [ZERO, SEVEN])
    ours, theirs = heatmap(), heatmap(run_id=other_run.id, peak=0.5)
    add_maps(store, ours, theirs, heatmap(run_id=other_run.id, image="test:0", class_index=0))
    with store.read_session() as session:
        assert heatmaps.list_for_probes(session, run.id, "conv2") == [ours]
        assert [row.image for row in heatmaps.list_for_probes(session, other_run.id, "conv2")] == [
            "test:0",
            "test:7",
        ]


def test_map_requires_its_epoch(store, run, heatmap):
    with pytest.raises(StatementRefused):
        add_maps(store, heatmap(epoch=9))
    assert count(store) == 0


def test_a_thousand_maps_are_added_at_once(store, run, heatmap):
    add_maps(store, *(heatmap(image=f"test:{i}") for i in range(1000)))
    assert count(store) == 1000
