"""The application in this process, with tokens of every kind."""

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.flows import access
from service.flows.credentials import digest, new_token
from service.settings import Settings
from service.store import schema, tokens
from service.store.store import Store, open_store


class GuardedService:
    """An application whose lifespan runs in a thread's event loop, called without a socket."""

    def __init__(self, folder: Path, *, has_tokens: bool = True, **settings: Any) -> None:
        self.settings = Settings(
            state_dir=folder, executor="inline", **{"log_requests": False} | settings
        )
        database, self.tokens = create_database(has_tokens)
        shutil.copyfile(database, folder / "camreel.db")
        self.app: FastAPI = create_app(self.settings)
        self._clients: dict[tuple[str, tuple[str, int]], httpx.AsyncClient] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()
        self._await(self._stack.enter_async_context(self.app.router.lifespan_context(self.app)))

    def store(self) -> Any:
        return open_store(self.settings.database)

    def request(
        self, method: str, path: str, token: str | None = None, **options: Any
    ) -> httpx.Response:
        """Sends one request; `token` is a kind of token, such as `read`, or the token itself."""
        base = options.pop("base", "http://127.0.0.1:8000")
        client = options.pop("client", ("127.0.0.1", 50000))
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers["authorization"] = f"Bearer {self.tokens.get(token, token)}"

        http = self._clients.get((base, client)) or self._client(base, client)
        # Tests send cookies explicitly; none is kept from one request to the next.
        http.cookies.clear()
        return self._await(http.request(method, path, headers=headers, **options))

    def get_raw(self, path: str, headers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
        """Status and body for a path and headers that no client library normalizes."""
        messages: list[Any] = []
        scope = {
            "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": unquote(path), "raw_path": path.encode(), "root_path": "",
            "query_string": b"", "headers": headers,
            "client": ("127.0.0.1", 50000), "server": ("127.0.0.1", 8000),
        }  # fmt: skip

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            messages.append(message)

        self._await(self.app(scope, receive, send))
        return messages[0]["status"], b"".join(message["body"] for message in messages[1:])

    def _client(self, base: str, client: tuple[str, int]) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=client)
        http = httpx.AsyncClient(transport=transport, base_url=base, trust_env=False)
        self._clients[base, client] = http
        return http

    def clear_credential_cache(self) -> None:
        """Clears the cache of credentials, as if its second had passed."""
        cache = self.app.state.services.credentials
        cache._open_access.clear()
        cache._principals.clear()

    def close(self) -> None:
        self._await(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _await(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)


FOLDER = tempfile.TemporaryDirectory()


@cache
def create_database(has_tokens: bool) -> tuple[Path, dict[str, str]]:
    """A database, created once to be copied, and its tokens by kind."""
    file = Path(FOLDER.name) / f"tokens-{has_tokens}.db"
    with open_store(f"sqlite:///{file}") as store:
        schema.ensure(store)
        return file, {kind: make(store) for kind, make in TOKEN_KINDS.items()} if has_tokens else {}


def _create_with_scope(scope: str) -> Callable[[Store], str]:
    return lambda store: access.create_token(store, f"{scope}er", scope, None, "test")[0]


def _create_expired(store: Store) -> str:
    secret = new_token()
    with store.write_session() as session:
        cutoff = datetime.now(UTC) - timedelta(seconds=1)
        tokens.create(session, "expired", "admin", digest(secret), cutoff)
    return secret


def _create_revoked(store: Store) -> str:
    secret, token = access.create_token(store, "revoked", "admin", None, "test")
    access.revoke_token(store, token.id, "test")
    return secret


TOKEN_KINDS: dict[str, Callable[[Store], str]] = {
    **{scope: _create_with_scope(scope) for scope in tokens.SCOPES},
    "expired": _create_expired,
    "revoked": _create_revoked,
    "unknown": lambda _: new_token(),
    "nonsense": lambda _: "nonsense",
}
INVALID_TOKENS = ["expired", "revoked", "unknown", "nonsense"]


@pytest.fixture
def new_guarded_service(tmp_path: Path) -> Iterator[Callable[..., GuardedService]]:
    """Creates services for one test; closes them at the end."""
    services: list[GuardedService] = []

    def make(**settings: Any) -> GuardedService:
        services.append(GuardedService(tmp_path, **settings))
        return services[-1]

    yield make
    for service in services:
        service.close()


@pytest.fixture(scope="module")
def guarded_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedService]:
    """The service that the tests of a file share; none of them changes it."""
    service = GuardedService(tmp_path_factory.mktemp("guarded"))
    yield service
    service.close()


@pytest.fixture(scope="module")
def trained_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedService]:
    """A service whose run 1 has finished one epoch, so that every route returns content."""
    service = GuardedService(tmp_path_factory.mktemp("trained"))
    small = {"channels": [2, 3], "hidden_units": 8}
    spec = {"dataset": "digits", "epochs": 1, "samples_per_epoch": 50, "architecture": small}
    assert service.request("POST", "/runs", "run", json=spec).status_code == 201
    yield service
    service.close()
