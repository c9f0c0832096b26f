"""The application in this process with a trained run, and clients that may disconnect."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from service.app import create_app
from service.core.cancellation import raise_if_cancelled
from service.settings import Settings

SPEC = {
    "dataset": "digits",
    "epochs": 2,
    "samples_per_epoch": 50,
    "architecture": {"channels": [2, 3], "hidden_units": 8},
}
DEADLINE_SECONDS = 30.0


def wait_until(condition: Callable[[], Any], seconds: float = DEADLINE_SECONDS) -> Any:
    """Waits until the condition is true, and returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return value


@dataclass
class Response:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One request, whose client may disconnect before the response."""

    def __init__(self, application: "Application", method: str, url: str, **headers: str) -> None:
        self._loop = application.loop
        self._disconnected = asyncio.Event()
        self.received = b""
        self.future: Future[Response] = asyncio.run_coroutine_threadsafe(
            self._run(application.app, method, url, headers), self._loop
        )

    def response(self) -> Response:
        return self.future.result(DEADLINE_SECONDS)

    def disconnect(self) -> None:
        self._loop.call_soon_threadsafe(self._disconnected.set)

    @property
    def is_waiting(self) -> bool:
        return not self.future.done()

    async def _run(self, app: Any, method: str, url: str, headers: dict[str, str]) -> Response:
        parts = urlsplit(url)
        request_headers = {"host": "127.0.0.1:8000"} | {
            k.replace("_", "-"): v for k, v in headers.items()
        }
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [(k.encode(), v.encode()) for k, v in request_headers.items()],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8000),
        }
        response = Response()
        has_started = False

        async def receive() -> dict[str, Any]:
            nonlocal has_started
            if not has_started:
                has_started = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await self._disconnected.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                response.status = message["status"]
                response.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            else:
                response.body += message.get("body", b"")
                self.received = response.body

        await app(scope, receive, send)
        return response


class Application:
    """An application whose lifespan runs in a thread's event loop."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        values: dict[str, Any] = {"executor": "inline", "log_requests": False} | settings
        self.app = create_app(Settings(state_dir=folder, **values))
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()
        self._await(self._stack.enter_async_context(self.app.router.lifespan_context(self.app)))

    @property
    def services(self) -> Any:
        return self.app.state.services

    def send(self, url: str, method: str = "GET", **headers: str) -> Client:
        return Client(self, method, url, **headers)

    def get(self, url: str, **headers: str) -> Response:
        return self.send(url, **headers).response()

    def job(self, job_id: int) -> dict[str, Any]:
        return dict(self.get(f"/jobs/{job_id}").json())

    def loads(self) -> dict[str, tuple[int, int]]:
        """Running and waiting computations by thread pool."""
        loads = self.services.thread_pools.loads()
        return {str(name): (load.running, load.waiting) for name, load in loads.items()}

    def close(self) -> None:
        self._await(self._stack.aclose())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def _await(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(DEADLINE_SECONDS)


@dataclass
class Blockade:
    """Blocks computations until it is lifted or they are cancelled."""

    start_count: int = 0
    end_count: int = 0
    lifted: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> None:
        self.start_count += 1
        try:
            while not self.lifted.wait(0.01):
                raise_if_cancelled()
        finally:
            self.end_count += 1


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with a finished run 1."""
    from service.core.spec import RunSpec
    from service.flows.runs import start_run
    from service.flows.workspace import Workspace
    from service.jobs.inline import InlineExecutor
    from service.store import schema
    from service.store.store import open_store

    folder = tmp_path_factory.mktemp("trained")
    settings = Settings(state_dir=folder)
    with open_store(settings.database) as store:
        schema.ensure(store)
        workspace = Workspace(settings.database, "sql", folder)
        start_run(store, InlineExecutor(), workspace, RunSpec.model_validate(SPEC))
    return folder


@pytest.fixture
def new_application(trained_folder: Path, tmp_path: Path) -> Iterator[Callable[..., Application]]:
    """Creates applications with a copy of the trained run; closes them at the end."""
    import shutil

    applications: list[Application] = []
    folder = tmp_path / "state"
    shutil.copytree(trained_folder, folder)

    def make(**settings: Any) -> Application:
        applications.append(Application(folder, **settings))
        return applications[-1]

    yield make
    for application in applications:
        application.close()


@pytest.fixture
def blockade(monkeypatch: pytest.MonkeyPatch) -> Iterator[Blockade]:
    """Blocks evaluations, and maps that are not cached."""
    from service.flows.maps import compute, evaluation

    blockade = Blockade()
    for module, name in ((evaluation, "evaluate"), (compute, "explain_images")):
        function = getattr(module, name)

        def blocked(*args: Any, function: Any = function, **kwargs: Any) -> Any:
            blockade()
            return function(*args, **kwargs)

        monkeypatch.setattr(module, name, blocked)
    yield blockade
    blockade.lifted.set()
