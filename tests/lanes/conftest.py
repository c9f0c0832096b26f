"""The application in this process with a trained run, asked by clients that may leave."""

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
    """What the condition gives, once it is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return value


@dataclass
class Answer:
    """A response."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One request; its client may leave before the answer."""

    def __init__(self, application: "Application", method: str, url: str, **headers: str) -> None:
        self._loop = application.loop
        self._gone = asyncio.Event()
        self._answered = False
        self.received = b""
        self.future: Future[Answer] = asyncio.run_coroutine_threadsafe(
            self._ask(application.app, method, url, headers), self._loop
        )

    def answer(self) -> Answer:
        return self.future.result(DEADLINE_SECONDS)

    def leave(self) -> None:
        self._loop.call_soon_threadsafe(self._gone.set)

    @property
    def waits(self) -> bool:
        return not self.future.done()

    async def _ask(self, app: Any, method: str, url: str, headers: dict[str, str]) -> Answer:
        parts = urlsplit(url)
        named = {"host": "127.0.0.1:8000"} | {k.replace("_", "-"): v for k, v in headers.items()}
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
            "headers": [(k.encode(), v.encode()) for k, v in named.items()],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8000),
        }
        answer = Answer()
        begun = False

        async def receive() -> dict[str, Any]:
            nonlocal begun
            if not begun:
                begun = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await self._gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            else:
                answer.body += message.get("body", b"")
                self.received = answer.body

        await app(scope, receive, send)
        return answer


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

    def ask(self, url: str, method: str = "GET", **headers: str) -> Client:
        return Client(self, method, url, **headers)

    def get(self, url: str, **headers: str) -> Answer:
        return self.ask(url, **headers).answer()

    def job(self, job_id: int) -> dict[str, Any]:
        return dict(self.get(f"/jobs/{job_id}").json())

    def loads(self) -> dict[str, tuple[int, int]]:
        """Running and waiting, by lane."""
        lanes = self.services.thread_pools.loads()
        return {str(name): (load.running, load.waiting) for name, load in lanes.items()}

    def close(self) -> None:
        self._await(self._stack.aclose())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def _await(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(DEADLINE_SECONDS)


@dataclass
class Blockade:
    """Computations that stand still until it is lifted, as long as somebody waits for them."""

    begun: int = 0
    ended: int = 0
    lifted: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> None:
        self.begun += 1
        try:
            while not self.lifted.wait(0.01):
                raise_if_cancelled()
        finally:
            self.ended += 1


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder whose run 1 has ended."""
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
def application(trained_folder: Path, tmp_path: Path) -> Iterator[Callable[..., Application]]:
    """Makes applications with a copy of the trained run, and closes them."""
    import shutil

    made: list[Application] = []
    folder = tmp_path / "state"
    shutil.copytree(trained_folder, folder)

    def make(**settings: Any) -> Application:
        made.append(Application(folder, **settings))
        return made[-1]

    yield make
    for item in made:
        item.close()


@pytest.fixture
def blockade(monkeypatch: pytest.MonkeyPatch) -> Iterator[Blockade]:
    """Blocks evaluations, and maps that are not cached."""
    from service.flows.maps import compute, evaluation

    made = Blockade()
    for module, name in ((evaluation, "evaluate"), (compute, "explain_images")):
        function = getattr(module, name)

        def blocked(*args: Any, function: Any = function, **kwargs: Any) -> Any:
            made()
            return function(*args, **kwargs)

        monkeypatch.setattr(module, name, blocked)
    yield made
    made.lifted.set()
