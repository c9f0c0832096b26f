"""Maps' metadata: kept once, and read along epochs or for all probes."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from service.errors import StatementRefused
from service.store import heatmaps, images
from service.store.heatmaps import Heatmap
from service.store.images import StoredImage
from service.store.rows import HeatmapRow

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
    """A map of the run, with any of its fields told."""
    one = Heatmap(
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
    return lambda **fields: replace(one, **fields)


def keep(store, *found: Heatmap) -> None:
    with store.write_session() as session:
        heatmaps.add_missing(session, found)


def count(store) -> int:
    with store.read_session() as session:
        return session.scalar(select(func.count()).select_from(HeatmapRow)) or 0


def test_a_map_is_found_as_it_was_kept(store, run, heatmap):
    keep(store, heatmap())
    with store.read_session() as session:
        found = heatmaps.list_for_image(session, run.id, "test:7", 7, "proposed", "conv2")
    assert found == [heatmap()]


def test_a_map_kept_twice_is_kept_once_and_does_not_change(store, run, heatmap):
    keep(store, heatmap())
    keep(store, heatmap(peak=9.0, etag="other"), heatmap(epoch=1))
    keep(store, heatmap(), heatmap())
    with store.read_session() as session:
        found = heatmaps.list_for_image(session, run.id, "test:7", 7, "proposed", "conv2")
    assert found == [heatmap(), heatmap(epoch=1)]
    assert count(store) == 2


def test_no_maps_are_no_work(store, run):
    keep(store)
    assert count(store) == 0


def test_maps_of_an_image_come_by_epoch_and_are_no_others(store, run, heatmap):
    others = [
        heatmap(image="test:0"),
        heatmap(class_index=3),
        heatmap(method="conventional"),
        heatmap(layer="conv1"),
    ]
    keep(store, heatmap(epoch=2), *others, heatmap(epoch=0), heatmap(epoch=1))
    with store.read_session() as session:
        found = heatmaps.list_for_image(session, run.id, "test:7", 7, "proposed", "conv2")
        assert heatmaps.list_for_image(session, run.id + 1, "test:7", 7, "proposed", "conv2") == []
    assert [one.epoch for one in found] == [0, 1, 2]
    assert count(store) == 7


def test_probes_maps_come_by_epoch_method_and_the_probes_order(store, run, heatmap):
    with store.write_session() as session:
        images.set_probes(session, run.id, [SEVEN, ZERO])
    expected = [
        heatmap(epoch=epoch, method=method, image=image, class_index=label)
        for epoch in (0, 1)
        for method in ("conventional", "proposed")
        for image, label in (("test:7", 7), ("test:0", 0))
    ]
    keep(
        store,
        *reversed(expected),
        heatmap(class_index=3),  # of a probe, for a class that is not its own
        heatmap(image="test:9", class_index=9),  # of an image that is no probe
        heatmap(layer="conv1"),
    )
    with store.read_session() as session:
        assert heatmaps.list_for_probes(session, run.id, "conv2") == expected


def test_probes_maps_are_the_runs_own(store, run, heatmap, new_run, add_epoch):
    other = new_run()
    add_epoch(other, 0)
    with store.write_session() as session:
        images.set_probes(session, run.id, [SEVEN])
        images.set_probes(session, other.id, [ZERO, SEVEN])
    ours, theirs = heatmap(), heatmap(run_id=other.id, peak=0.5)
    keep(store, ours, theirs, heatmap(run_id=other.id, image="test:0", class_index=0))
    with store.read_session() as session:
        assert heatmaps.list_for_probes(session, run.id, "conv2") == [ours]
        assert [one.image for one in heatmaps.list_for_probes(session, other.id, "conv2")] == [
            "test:0",
            "test:7",
        ]


def test_a_map_needs_its_epoch(store, run, heatmap):
    with pytest.raises(StatementRefused):
        keep(store, heatmap(epoch=9))
    assert count(store) == 0


def test_a_thousand_maps_are_kept_at_once(store, run, heatmap):
    keep(store, *(heatmap(image=f"test:{i}") for i in range(1000)))
    assert count(store) == 1000
