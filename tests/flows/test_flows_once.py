"""What many ask for at once is computed once, and all get the same bytes."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from service.core.cancellation import cancellable, raise_if_cancelled
from service.core.spec import RunSpec
from service.errors import RequestCancelled
from service.flows.cache import Cache
from service.flows.maps import compute
from service.flows.maps.atlas import Atlases, AtlasQuery
from service.flows.maps.deferred import Deferred
from service.flows.maps.pictures import MapPictures, Picture, Rendering
from service.flows.maps.pipeline import MapPipeline
from service.flows.maps.request import MapQuery
from service.flows.runs import start_run
from service.flows.workspace import Workspace
from service.jobs.inline import InlineExecutor
from service.store import schema
from service.store.store import open_store

THREADS = 100
IMAGE = "test:20"  # no probe: nothing of it was recorded


def at_once(count: int, act: Callable[[], Any]) -> list[Any]:
    """What `act` returned, or the error that it raised, of threads that begin together."""
    together = threading.Barrier(count)

    def call(_: int) -> Any:
        together.wait()
        try:
            return act()
        except ValueError as error:
            return error

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(call, range(count)))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("once")
    url = f"sqlite:///{folder / 'camreel.db'}"
    spec = RunSpec(
        dataset="digits",
        epochs=2,
        samples_per_epoch=100,
        architecture={"channels": [4, 6], "hidden_units": 12},
    )
    with open_store(url) as store:
        schema.ensure(store)
        start_run(store, InlineExecutor(), Workspace(url, "sql", folder), spec)
        yield store


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each call of the engine was for."""
    image_counts: list[int] = []
    engine = compute.explain_images

    def look(network, images, *arguments):
        image_counts.append(len(images))
        return engine(network, images, *arguments)

    monkeypatch.setattr(compute, "explain_images", look)
    return image_counts


def content(deferred: Deferred[Picture]) -> bytes:
    return deferred.compute().value.content


REQUESTS: dict[str, Callable[[MapPictures, MapQuery], Any]] = {
    "cam": lambda pictures, query: content(pictures.cam(query, 1, Rendering())),
    "cam.json": lambda pictures, query: pictures.cam_values(query, 1).compute().value.scores,
    "cam.npy": lambda pictures, query: (
        pictures.cam_values(query, 1).compute().value.class_map.signed.tobytes()
    ),
    "strip": lambda pictures, query: content(pictures.strip(query, ":", Rendering())),
    "strip.webp": lambda pictures, query: content(pictures.strip(query, ":", Rendering(), "webp")),
    "strip.npz": lambda pictures, query: content(pictures.strip_arrays(query, ":")),
    "sheet": lambda pictures, query: content(pictures.sheet(query, ":", Rendering())),
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize(
    "method", ["proposed", pytest.param("grad-cam++", marks=pytest.mark.torture)]
)
def test_a_hundred_identical_requests_compute_once(
    store, calls: list[int], name: str, method: str
) -> None:
    query = MapQuery(1, method, image=None if name == "sheet" else IMAGE)
    alone = REQUESTS[name](MapPictures(MapPipeline(store, Path("nowhere"))), query)
    for_one = list(calls)
    calls.clear()
    pictures = MapPictures(MapPipeline(store, Path("nowhere")))
    answers = at_once(THREADS, lambda: REQUESTS[name](pictures, query))
    assert for_one
    assert calls == for_one
    assert all(answer == alone for answer in answers)


def test_different_requests_of_one_map_compute_it_once(store, calls: list[int]) -> None:
    pictures = MapPictures(MapPipeline(store, Path("nowhere")))
    query = MapQuery(1, "proposed", image=IMAGE)
    asks = [ask for name, ask in REQUESTS.items() if name != "sheet"]
    turn = iter(range(THREADS))
    lock = threading.Lock()

    def ask() -> Any:
        with lock:
            position = next(turn)
        return asks[position % len(asks)](pictures, query)

    assert len(at_once(THREADS, ask)) == THREADS
    assert len(calls) == 3  # one an epoch
    assert calls == [1, 1, 1]


def test_a_hundred_identical_atlases_compute_each_map_once(store, calls: list[int]) -> None:
    atlases = Atlases(MapPipeline(store, Path("nowhere")))
    query = AtlasQuery(1, ("hires-cam",))
    answers = at_once(THREADS, lambda: atlases.atlas(query).compute().value)
    assert len({id(answer) for answer in answers}) == 1
    assert len(calls) == 3 * 10  # epochs, and probes each of a class of its own


def numbers(max_bytes: int = 100) -> Cache[int]:
    return Cache(max_bytes, lambda _: 1)


def test_what_is_too_large_to_be_kept_is_made_once_for_all_who_wait() -> None:
    computations: list[int] = []
    requests = threading.Semaphore(0)

    def make() -> int:
        for _ in range(THREADS):
            requests.acquire()
        computations.append(1)
        return 7

    class Counting(Cache[int]):
        def _get_counted(self, key):
            requests.release()
            return super()._get_counted(key)

    cache = Counting(0, lambda _: 1)
    assert at_once(THREADS, lambda: cache.get_or_make("key", make)) == [7] * THREADS
    assert computations == [1]


def test_what_could_not_be_made_leaves_nothing_and_may_be_made_again() -> None:
    cache = numbers()

    def fail() -> int:
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            cache.get_or_make("key", fail)
    assert cache._pending == {}
    assert cache.get_or_make("key", lambda: 3) == 3
    assert cache._pending == {}


def test_who_waited_for_one_that_failed_makes_it_after_all() -> None:
    cache = numbers()
    computations: list[int] = []
    lock = threading.Lock()

    def make() -> int:
        with lock:
            computations.append(1)
            if len(computations) == 1:
                raise ValueError("the first fails")
        return 5

    answers = at_once(20, lambda: cache.get_or_make("key", make))
    assert sum(isinstance(answer, ValueError) for answer in answers) == 1
    assert [answer for answer in answers if answer == 5] == [5] * 19
    assert len(computations) == 2
    assert cache._pending == {}


def test_two_that_want_each_others_things_do_not_wait_for_ever() -> None:
    cache = numbers()
    turns = iter([["a", "b"], ["b", "a"]] * 20)
    lock = threading.Lock()
    computations: list[object] = []

    def make(keys: list[Any]) -> list[int]:
        computations.extend(keys)
        return [ord(key) for key in keys]

    def ask() -> Any:
        with lock:
            keys = next(turns)
        return cache.get_or_make_each(keys, make)

    assert at_once(40, ask) == [{"a": 97, "b": 98}] * 40
    assert sorted(map(str, computations)) == ["a", "b"]


def test_the_same_key_twice_in_one_call_is_made_once() -> None:
    computations: list[list[Any]] = []

    def make(keys: list[Any]) -> list[int]:
        computations.append(keys)
        return [1] * len(keys)

    assert numbers().get_or_make_each(["a", "a"], make) == {"a": 1}
    assert computations == [["a"]]


class Interest:
    """A client, who waits until it is gone."""

    def __init__(self) -> None:
        self.waits = True

    def ask(self, act: Callable[[], Any]) -> Any:
        with cancellable(lambda: self.waits):
            return act()


def test_work_is_ended_once_nobody_waits_for_it_and_not_before() -> None:
    cache = numbers()
    first, second = Interest(), Interest()
    computation_started, checked = threading.Event(), threading.Event()

    def make() -> int:
        computation_started.set()
        while True:
            raise_if_cancelled()
            checked.set()

    with ThreadPoolExecutor(2) as threads:
        making = threads.submit(first.ask, lambda: cache.get_or_make("key", make))
        assert computation_started.wait(10)
        waiting = threads.submit(second.ask, lambda: cache.get_or_make("key", lambda: 7))
        while len(cache._pending["key"].checks) < 2:
            pass
        first.waits = False
        for _ in range(3):
            checked.clear()
            assert checked.wait(10)  # it goes on, for the second
        assert not making.done()
        second.waits = False
        for interest in (making, waiting):
            with pytest.raises(RequestCancelled):
                interest.result(10)
    assert cache._pending == {}


def test_who_leaves_while_another_makes_it_does_not_wait_for_the_end() -> None:
    cache = numbers()
    abandoned_interest = Interest()
    computation_started, go_on = threading.Event(), threading.Event()

    def make() -> int:
        computation_started.set()
        assert go_on.wait(20)
        return 5

    with ThreadPoolExecutor(2) as threads:
        making = threads.submit(cache.get_or_make, "key", make)
        assert computation_started.wait(10)
        abandoned_interest.waits = False
        with pytest.raises(RequestCancelled):
            abandoned_interest.ask(lambda: cache.get_or_make("key", lambda: 7))
        go_on.set()
        assert making.result(10) == 5


@pytest.mark.parametrize("method", ["score-cam", "smooth-grad", "full-grad", "lime", "occlusion"])
def test_a_long_computation_is_ended_between_its_passes(store, method: str) -> None:
    def count_checks(method: str, max_checks: int = 1_000_000) -> int:
        """How often a map's computation looks whether it is wanted."""
        pipeline = MapPipeline(store, Path("nowhere"))
        request = pipeline.resolver.resolve_map(MapQuery(1, method, image=IMAGE), 1)
        looks: list[int] = []

        def is_wanted() -> bool:
            looks.append(1)
            return len(looks) < max_checks

        with cancellable(is_wanted):
            pipeline.computer.compute([request])
        return len(looks)

    times = count_checks(method)
    assert times > count_checks("proposed")
    with pytest.raises(RequestCancelled):
        count_checks(method, max_checks=times)
