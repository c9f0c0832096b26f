"""Networks of neighboring epochs, loaded while nothing else is computed."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.core.spec import RunSpec
from service.flows import checkpoints
from service.flows.deletion import delete_run
from service.flows.maps.pictures import MapPictures, Rendering
from service.flows.maps.pipeline import MapPipeline
from service.flows.maps.request import MapQuery
from service.flows.runs import start_run
from service.flows.workspace import Workspace
from service.jobs.inline import InlineExecutor
from service.store.store import Store

WAIT_SECONDS = 10.0
SETTLE_SECONDS = 0.3  # several times what an idle service waits before it prefetches


class Activity:
    """Whether the service computes something, as its thread pools would tell."""

    def __init__(self) -> None:
        self.is_idle = True


@pytest.fixture
def activity() -> Activity:
    return Activity()


@pytest.fixture
def pictures(store: Store, workspace: Workspace, activity: Activity) -> Iterator[MapPictures]:
    spec = RunSpec(dataset="digits", epochs=4, samples_per_epoch=20)
    start_run(store, InlineExecutor(), workspace, spec)
    pipeline = MapPipeline(store, Path("nowhere"), is_idle=lambda: activity.is_idle)
    yield MapPictures(pipeline)
    pipeline.close()


def epochs_in_memory(pictures: MapPictures) -> list[int]:
    pipeline = pictures.pipeline
    _, selection = pipeline.resolver.resolve_series(MapQuery(1, "proposed"), "0:")
    networks = pipeline.computer.caches["networks"]
    return [e.epoch for e in selection.epochs if e.checkpoint.sha256 in networks]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def draw(pictures: MapPictures, epoch: int, method: str = "proposed") -> None:
    pictures.cam(MapQuery(1, method), epoch, Rendering()).compute()


def test_the_networks_before_and_after_are_loaded(pictures: MapPictures):
    draw(pictures, 2)
    wait_until(lambda: epochs_in_memory(pictures) == [1, 2, 3])
    time.sleep(SETTLE_SECONDS)
    assert epochs_in_memory(pictures) == [1, 2, 3]


def test_the_first_and_the_last_epoch_have_one_neighbor(pictures: MapPictures):
    draw(pictures, 4)
    wait_until(lambda: epochs_in_memory(pictures) == [3, 4])
    draw(pictures, 0)
    wait_until(lambda: epochs_in_memory(pictures) == [0, 1, 3, 4])


def test_nothing_is_loaded_while_something_is_computed(pictures: MapPictures, activity: Activity):
    activity.is_idle = False
    draw(pictures, 2)
    time.sleep(SETTLE_SECONDS)
    assert epochs_in_memory(pictures) == [2]
    draw(pictures, 0)
    activity.is_idle = True
    wait_until(lambda: epochs_in_memory(pictures) == [0, 1, 2])  # next to the latest epoch only


def test_a_damaged_neighbor_does_not_end_the_prefetching(
    pictures: MapPictures, monkeypatch: pytest.MonkeyPatch
):
    find_damage = checkpoints.find_damage
    monkeypatch.setattr(
        checkpoints,
        "find_damage",
        lambda data, epoch, spec: (
            checkpoints.Damage.CORRUPT if epoch.epoch == 3 else find_damage(data, epoch, spec)
        ),
    )
    draw(pictures, 2)
    wait_until(lambda: epochs_in_memory(pictures) == [1, 2])
    draw(pictures, 1)
    wait_until(lambda: epochs_in_memory(pictures) == [0, 1, 2])


def test_large_networks_are_not_prefetched(pictures: MapPictures, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pictures.pipeline.prefetcher, "_max_checkpoint_bytes", 1000)
    draw(pictures, 2)
    time.sleep(SETTLE_SECONDS)
    assert epochs_in_memory(pictures) == [2]


def test_a_deleted_run_is_no_error(pictures: MapPictures, store: Store, activity: Activity):
    activity.is_idle = False
    draw(pictures, 2)
    networks = pictures.pipeline.computer.caches["networks"]
    misses = networks.misses
    delete_run(store, 1)
    activity.is_idle = True
    time.sleep(SETTLE_SECONDS)
    assert networks.misses == misses
