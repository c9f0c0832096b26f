"""The application in this process, called without a socket, also concurrently."""

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


class Application:
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
        # An unexpected error is a 500 response, as for a client.
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8000", trust_env=False, timeout=120
        )
        self._wait(self._stack.enter_async_context(self.app.router.lifespan_context(self.app)))

    @property
    def services(self) -> Any:
        return self.app.state.services

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Sends one request."""
        (response,) = self.request_concurrently([(method, path, options)])
        return response

    def request_concurrently(
        self, requests: Sequence[tuple[str, str, dict[str, Any]]]
    ) -> list[Any]:
        """Sends all requests concurrently; returns their responses in order."""

        async def send_all() -> list[Any]:
            return await asyncio.gather(
                *(
                    self._client.request(method, path, **options)
                    for method, path, options in requests
                )
            )

        return list(self._wait(send_all()))

    def upload(self, data: bytes, dataset: str = "digits", **options: Any) -> httpx.Response:
        """Uploads the file as a form."""
        return self.request(
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
def new_application(tmp_path: Path) -> Iterator[Callable[..., Application]]:
    """Creates applications for one test; closes them at the end."""
    applications: list[Application] = []

    def make(**settings: Any) -> Application:
        applications.append(Application(tmp_path, **settings))
        return applications[-1]

    yield make
    for application in applications:
        application.close()


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """The application that the tests of a file share."""
    application = Application(tmp_path_factory.mktemp("uploads"))
    yield application
    application.close()
