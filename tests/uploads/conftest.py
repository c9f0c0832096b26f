"""The application in this process, asked without a socket, by many at once where a test says so."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.settings import Settings


class Asked:
    """An application whose lifespan runs in a thread's event loop."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.settings = Settings(
            state_dir=folder, executor="inline", **{"log_requests": False} | settings
        )
        self.app = create_app(self.settings)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()
        # An error that nobody foresaw is an answer, 500, for the test to see.
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8000", trust_env=False, timeout=120
        )
        self._wait(self._stack.enter_async_context(self.app.router.lifespan_context(self.app)))

    @property
    def services(self) -> Any:
        return self.app.state.services

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request."""
        (answer,) = self.ask_at_once([(method, path, options)])
        return answer

    def ask_at_once(self, requests: Sequence[tuple[str, str, dict[str, Any]]]) -> list[Any]:
        """All of them, none of which waits for another's answer."""

        async def all_of_them() -> list[Any]:
            return await asyncio.gather(
                *(
                    self._client.request(method, path, **options)
                    for method, path, options in requests
                )
            )

        return list(self._wait(all_of_them()))

    def upload(self, data: bytes, dataset: str = "digits", **options: Any) -> httpx.Response:
        """The file as a form has it."""
        return self.ask(
            "POST", "/images", params={"dataset": dataset}, files={"file": data}, **options
        )

    def close(self) -> None:
        self._wait(self._client.aclose())
        self._wait(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(120)


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Callable[..., Asked]]:
    """Makes applications of a test's own, and closes them."""
    made: list[Asked] = []

    def make(**settings: Any) -> Asked:
        made.append(Asked(tmp_path, **settings))
        return made[-1]

    yield make
    for item in made:
        item.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """The application that a file's tests share."""
    made = Asked(tmp_path_factory.mktemp("uploads"))
    yield made
    made.close()
