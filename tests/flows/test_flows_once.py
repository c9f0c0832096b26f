"""Concurrent identical requests are computed once, and all receive the same bytes."""

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
IMAGE = "test:20"  # not a probe: none of its maps is recorded


def call_concurrently(count: int, function: Callable[[], Any]) -> list[Any]:
    """The results, or ValueErrors, of `count` threads that call `function` at the same time."""
    barrier = threading.Barrier(count)

    def call(_: int) -> Any:
        barrier.wait()
        try:
            return function()
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
    """Number of images of each call of the engine."""
    image_counts: list[int] = []
    engine = compute.explain_images

    def explain(network, images, *arguments):
        image_counts.append(len(images))
        return engine(network, images, *arguments)

    monkeypatch.setattr(compute, "explain_images", explain)
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
    "strip.webp": lambda pictures, query: content(
        pictures.animation([query], ":", Rendering(), "webp")
    ),
    "strip.npz": lambda pictures, query: content(pictures.strip_arrays(query, ":")),
    "sheet": lambda pictures, query: content(pictures.sheet(query, ":", Rendering())),
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize(
    "method", ["proposed", pytest.param("grad-cam++", marks=pytest.mark.torture)]
)
def test_identical_requests_compute_once(store, calls: list[int], name: str, method: str) -> None:
    query = MapQuery(1, method, image=None if name == "sheet" else IMAGE)
    expected = REQUESTS[name](MapPictures(MapPipeline(store, Path("nowhere"))), query)
    expected_calls = list(calls)
    calls.clear()
    pictures = MapPictures(MapPipeline(store, Path("nowhere")))
    results = call_concurrently(THREADS, lambda: REQUESTS[name](pictures, query))
    assert expected_calls
    assert calls == expected_calls
    assert all(result == expected for result in results)


def test_different_requests_for_a_map_compute_it_once(store, calls: list[int]) -> None:
    pictures = MapPictures(MapPipeline(store, Path("nowhere")))
    query = MapQuery(1, "proposed", image=IMAGE)
    requests = [request for name, request in REQUESTS.items() if name != "sheet"]
    positions = iter(range(THREADS))
    lock = threading.Lock()

    def send_request() -> Any:
        with lock:
            position = next(positions)
        return requests[position % len(requests)](pictures, query)

    assert len(call_concurrently(THREADS, send_request)) == THREADS
    assert calls == [1, 1, 1]  # one per epoch


def test_identical_atlas_requests_compute_each_map_once(store, calls: list[int]) -> None:
    atlases = Atlases(MapPipeline(store, Path("nowhere")))
    query = AtlasQuery(1, ("hires-cam",))
    results = call_concurrently(THREADS, lambda: atlases.atlas(query).compute().value)
    assert len({id(atlas) for atlas in results}) == 1
    assert len(calls) == 3 * 10  # epochs, and probes, each of another class


def number_cache(max_bytes: int = 100) -> Cache[int]:
    return Cache(max_bytes, lambda _: 1)


def test_value_too_large_to_cache_is_computed_once_for_all_waiting_callers() -> None:
    computations: list[int] = []
    requests = threading.Semaphore(0)

    def make() -> int:
        for _ in range(THREADS):
            requests.acquire()
        computations.append(1)
        return 7

    class CountingCache(Cache[int]):
        def _get_counted(self, key):
            requests.release()
            return super()._get_counted(key)

    cache = CountingCache(0, lambda _: 1)
    assert call_concurrently(THREADS, lambda: cache.get_or_make("key", make)) == [7] * THREADS
    assert computations == [1]


def test_failed_computation_leaves_no_entry_and_can_be_repeated() -> None:
    cache = number_cache()

    def fail() -> int:
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            cache.get_or_make("key", fail)
    assert cache._pending == {}
    assert cache.get_or_make("key", lambda: 3) == 3
    assert cache._pending == {}


def test_waiting_caller_computes_the_value_after_another_fails() -> None:
    cache = number_cache()
    computations: list[int] = []
    lock = threading.Lock()

    def make() -> int:
        with lock:
            computations.append(1)
            if len(computations) == 1:
                raise ValueError("the first computation fails")
        return 5

    results = call_concurrently(20, lambda: cache.get_or_make("key", make))
    assert sum(isinstance(result, ValueError) for result in results) == 1
    assert [result for result in results if result == 5] == [5] * 19
    assert len(computations) == 2
    assert cache._pending == {}


def test_calls_with_the_same_keys_in_opposite_order_do_not_deadlock() -> None:
    cache = number_cache()
    key_lists = iter([["a", "b"], ["b", "a"]] * 20)
    lock = threading.Lock()
    computations: list[object] = []

    def make(keys: list[Any]) -> list[int]:
        computations.extend(keys)
        return [ord(key) for key in keys]

    def get() -> Any:
        with lock:
            keys = next(key_lists)
        return cache.get_or_make_each(keys, make)

    assert call_concurrently(40, get) == [{"a": 97, "b": 98}] * 40
    assert sorted(map(str, computations)) == ["a", "b"]


def test_repeated_key_of_one_call_is_computed_once() -> None:
    computations: list[list[Any]] = []

    def make(keys: list[Any]) -> list[int]:
        computations.append(keys)
        return [1] * len(keys)

    assert number_cache().get_or_make_each(["a", "a"], make) == {"a": 1}
    assert computations == [["a"]]


class Client:
    """A client, connected until the test disconnects it."""

    def __init__(self) -> None:
        self.is_connected = True

    def call(self, function: Callable[[], Any]) -> Any:
        with cancellable(lambda: self.is_connected):
            return function()


def test_computation_ends_when_its_last_client_disconnects() -> None:
    cache = number_cache()
    first, second = Client(), Client()
    computation_started, checked = threading.Event(), threading.Event()

    def make() -> int:
        computation_started.set()
        while True:
            raise_if_cancelled()
            checked.set()

    with ThreadPoolExecutor(2) as threads:
        first_call = threads.submit(first.call, lambda: cache.get_or_make("key", make))
        assert computation_started.wait(10)
        second_call = threads.submit(second.call, lambda: cache.get_or_make("key", lambda: 7))
        while len(cache._pending["key"].checks) < 2:
            pass
        first.is_connected = False
        for _ in range(3):
            checked.clear()
            assert checked.wait(10)  # it continues for the second client
        assert not first_call.done()
        second.is_connected = False
        for call in (first_call, second_call):
            with pytest.raises(RequestCancelled):
                call.result(10)
    assert cache._pending == {}


def test_disconnected_client_does_not_wait_for_the_computation_of_another() -> None:
    cache = number_cache()
    client = Client()
    computation_started, may_finish = threading.Event(), threading.Event()

    def make() -> int:
        computation_started.set()
        assert may_finish.wait(20)
        return 5

    with ThreadPoolExecutor(2) as threads:
        computation = threads.submit(cache.get_or_make, "key", make)
        assert computation_started.wait(10)
        client.is_connected = False
        with pytest.raises(RequestCancelled):
            client.call(lambda: cache.get_or_make("key", lambda: 7))
        may_finish.set()
        assert computation.result(10) == 5


@pytest.mark.parametrize("method", ["score-cam", "smooth-grad", "full-grad", "lime", "occlusion"])
def test_long_computation_is_cancelled_between_its_passes(store, method: str) -> None:
    def count_checks(method: str, max_checks: int = 1_000_000) -> int:
        """How often the computation of a map checks for cancellation."""
        pipeline = MapPipeline(store, Path("nowhere"))
        request = pipeline.resolver.resolve_map(MapQuery(1, method, image=IMAGE), 1)
        checks: list[int] = []

        def is_wanted() -> bool:
            checks.append(1)
            return len(checks) < max_checks

        with cancellable(is_wanted):
            pipeline.computer.compute([request])
        return len(checks)

    check_count = count_checks(method)
    assert check_count > count_checks("proposed")
    with pytest.raises(RequestCancelled):
        count_checks(method, max_checks=check_count)
