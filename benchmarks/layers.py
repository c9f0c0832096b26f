"""What each layer of the service adds to an answer, in the process: without sockets and HTTP.

One request at a time calls the application as the server does. The time of a layer is that between
entering and leaving it, less that of the layers inside it; what threads wait for each other counts
for the layer that waits.
"""

import asyncio
import functools
import itertools
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fastapi.routing
import starlette.routing
from starlette.types import ASGIApp

import service.core.render.single as single_maps
import service.flows.maps.compute as map_computation
import service.flows.maps.pictures as map_pictures
from benchmarks.report import Figure, Report
from service.api import expensive
from service.api.middleware import access_control, requests
from service.api.prepared_answers import PreparedAnswersMiddleware
from service.app import create_app
from service.cli.server import SWITCH_SECONDS
from service.core.spec import RunSpec
from service.flows.maps.images import ImageReader
from service.flows.maps.resolve import MapResolver
from service.flows.runs import start_run
from service.flows.services import open_services
from service.settings import Settings
from service.store.store import Store

REQUESTS, QUICK_REQUESTS = 200, 20  # of a turn
HEADERS = [(b"host", b"127.0.0.1"), (b"accept", b"*/*")]

LAYERS: list[tuple[str, object, str]] = [
    ("request id, origin, log line, security headers", requests.RequestMiddleware, "__call__"),
    ("authentication and rate limits", access_control.AccessControlMiddleware, "__call__"),
    ("prepared answers", PreparedAnswersMiddleware, "__call__"),
    ("routing", starlette.routing.Router, "__call__"),
    ("validation", fastapi.routing, "solve_dependencies"),
    ("handing over to threads", expensive, "run_in_pool"),
    ("identity, conditions, caches", expensive.Responder, "_answer_at_once"),
    ("resolving", MapResolver, "resolve_map"),
    ("reading the database", Store, "read_session"),
    ("reading the image", ImageReader, "complete"),
    ("map cache", map_computation.MapComputer, "compute"),
    ("computing the map", map_computation, "explain_images"),
    ("drawing", map_pictures, "render_map"),
    ("encoding", single_maps, "encode_png"),
]
OTHER = "everything else"


class LayerClock:
    """Exclusive seconds by layer, of the requests since the last `reset`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open: list[list[float]] = []  # start, seconds of inner layers

    def reset(self) -> None:
        self.seconds = {name: 0.0 for name, *_ in LAYERS}

    @contextmanager
    def measure(self, layer: str) -> Iterator[None]:
        if threading.current_thread().name in ("map-recorder", "prefetch"):
            yield
            return
        frame = [time.perf_counter(), 0.0]
        self._open.append(frame)
        try:
            yield
        finally:
            elapsed = time.perf_counter() - frame[0]
            self._open.remove(frame)
            if self._open:
                self._open[-1][1] += elapsed
            self.seconds[layer] = self.seconds.get(layer, 0.0) + elapsed - frame[1]

    def instrument(self, layer: str, owner: Any, attribute: str) -> None:
        setattr(owner, attribute, self._wrap(layer, getattr(owner, attribute)))

    def _wrap(self, layer: str, function: Callable[..., Any]) -> Callable[..., Any]:
        if asyncio.iscoroutinefunction(function):

            @functools.wraps(function)
            async def call_async(*arguments: Any, **options: Any) -> Any:
                with self.measure(layer):
                    return await function(*arguments, **options)

            return call_async
        if _enters_context(function):

            @contextmanager
            def enter(*arguments: Any, **options: Any) -> Iterator[Any]:
                with self.measure(layer), function(*arguments, **options) as value:
                    yield value

            return enter

        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            with self.measure(layer):
                return function(*arguments, **options)

        return call


def _enters_context(function: Callable[..., Any]) -> bool:
    return "AbstractContextManager" in str(function.__annotations__.get("return"))


def run(rounds: int, quick: bool) -> Report:
    count = QUICK_REQUESTS if quick else REQUESTS
    rounds = min(rounds, 1_400 // count)
    with tempfile.TemporaryDirectory(prefix="camreel-benchmark-") as folder:
        settings = Settings(state_dir=Path(folder), log_requests=True)
        _train(settings)
        with _silenced():
            figures = asyncio.run(_measure(settings, rounds, count))
    return Report(
        "layers",
        f"{count} requests a turn, mean of one; overlays of 224 x 224 pixels. Layers that an "
        "answer does not pass are left out.",
        [],
        [],
        figures,
    )


@contextmanager
def _silenced() -> Iterator[None]:
    """Write log lines to nowhere: a terminal would take longer than the service."""
    stderr = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _train(settings: Settings) -> None:
    services = open_services(settings.model_copy(update={"executor": "inline"}))
    spec = RunSpec(dataset="digits", epochs=2)
    start_run(services.store, services.executor, services.workspace, spec)
    services.close()


async def _measure(settings: Settings, rounds: int, count: int) -> list[Figure]:
    clock = LayerClock()
    for layer, owner, attribute in LAYERS:
        clock.instrument(layer, owner, attribute)
    sys.setswitchinterval(SWITCH_SECONDS)
    app = create_app(settings)
    images = itertools.count()
    kinds = {
        "cached map": lambda: "image=test:1",
        "new image": lambda: f"image=train:{next(images)}",
    }
    values: dict[tuple[str, str], list[float]] = {}
    async with app.router.lifespan_context(app):
        for _ in range(rounds):
            for kind, query in kinds.items():
                for layer, seconds in (await _turn(app, clock, query, count)).items():
                    values.setdefault((kind, layer), []).append(seconds * 1e6)
    return [
        Figure(f"{kind}: {layer}", "µs", microseconds)
        for (kind, layer), microseconds in values.items()
        if statistics.median(microseconds) >= 1
    ]


async def _turn(
    app: ASGIApp, clock: LayerClock, query: Callable[[], str], count: int
) -> dict[str, float]:
    """Mean seconds of one request: in all, by layer, and what no layer accounts for."""
    await _request(app, query())
    clock.reset()
    start = time.perf_counter()
    for _ in range(count):
        await _request(app, query())
    total = (time.perf_counter() - start) / count
    layers = {layer: seconds / count for layer, seconds in clock.seconds.items()}
    return {"in all": total, **layers, OTHER: total - sum(layers.values())}


async def _request(app: ASGIApp, query: str) -> None:
    path = "/runs/1/epochs/2/cam"
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": HEADERS,
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8_000),
    }
    status = 0
    disconnected = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await disconnected.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(scope, receive, send)
    if status != 200:
        raise SystemExit(f"{path}?{query}: {status}")
