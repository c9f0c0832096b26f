"""The application in this process, guarded by tokens of every kind."""

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


class Guarded:
    """An application whose lifespan runs in a thread's event loop, asked without a socket."""

    def __init__(self, folder: Path, *, claimed: bool = True, **settings: Any) -> None:
        self.settings = Settings(
            state_dir=folder, executor="inline", **{"log_requests": False} | settings
        )
        made, self.tokens = databases(claimed)
        shutil.copyfile(made, folder / "camreel.db")
        self.app: FastAPI = create_app(self.settings)
        self._clients: dict[tuple[str, tuple[str, int]], httpx.AsyncClient] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()
        self._await(self._stack.enter_async_context(self.app.router.lifespan_context(self.app)))

    def store(self) -> Any:
        return open_store(self.settings.database)

    def ask(
        self, method: str, path: str, token: str | None = None, **options: Any
    ) -> httpx.Response:
        """One request; `token` is the kind of one, as `read`, or the token itself."""
        base = options.pop("base", "http://127.0.0.1:8000")
        client = options.pop("client", ("127.0.0.1", 50000))
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers["authorization"] = f"Bearer {self.tokens.get(token, token)}"

        asking = self._clients.get((base, client)) or self._client(base, client)
        # Cookies are the test's to send: none is kept from one request to the next.
        asking.cookies.clear()
        return self._await(asking.request(method, path, headers=headers, **options))

    def get_raw(self, path: str, headers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
        """Status and body for an address and headers as they are, that no client put in order."""
        sent: list[Any] = []
        scope = {
            "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": unquote(path), "raw_path": path.encode(), "root_path": "",
            "query_string": b"", "headers": headers,
            "client": ("127.0.0.1", 50000), "server": ("127.0.0.1", 8000),
        }  # fmt: skip

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            sent.append(message)

        self._await(self.app(scope, receive, send))
        return sent[0]["status"], b"".join(message["body"] for message in sent[1:])

    def _client(self, base: str, client: tuple[str, int]) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=client)
        made = httpx.AsyncClient(transport=transport, base_url=base, trust_env=False)
        self._clients[base, client] = made
        return made

    def forget(self) -> None:
        """As if the second had passed for which the gate remembers."""
        gate = self.app.state.services.credentials
        gate._open_access.clear()
        gate._principals.clear()

    def close(self) -> None:
        self._await(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _await(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)


FOLDER = tempfile.TemporaryDirectory()


@cache
def databases(claimed: bool) -> tuple[Path, dict[str, str]]:
    """A database made once, to be copied, and its tokens by kind."""
    file = Path(FOLDER.name) / f"claimed-{claimed}.db"
    with open_store(f"sqlite:///{file}") as store:
        schema.ensure(store)
        return file, {
            item_type: make(store) for item_type, make in KINDS.items()
        } if claimed else {}


def _of_scope(scope: str) -> Callable[[Store], str]:
    return lambda store: access.create_token(store, f"{scope}er", scope, None, "test")[0]


def _expired(store: Store) -> str:
    secret = new_token()
    with store.write_session() as session:
        cutoff = datetime.now(UTC) - timedelta(seconds=1)
        tokens.create(session, "late", "admin", digest(secret), cutoff)
    return secret


def _revoked(store: Store) -> str:
    secret, token = access.create_token(store, "gone", "admin", None, "test")
    access.revoke_token(store, token.id, "test")
    return secret


KINDS: dict[str, Callable[[Store], str]] = {
    **{scope: _of_scope(scope) for scope in tokens.SCOPES},
    "expired": _expired,
    "revoked": _revoked,
    "unknown": lambda _: new_token(),
    "nonsense": lambda _: "nonsense",
}
BAD = ["expired", "revoked", "unknown", "nonsense"]


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Callable[..., Guarded]]:
    """Makes applications of a test's own, and closes them."""
    made: list[Guarded] = []

    def make(**settings: Any) -> Guarded:
        made.append(Guarded(tmp_path, **settings))
        return made[-1]

    yield make
    for item in made:
        item.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """The application that a file's tests share; none of them changes it."""
    made = Guarded(tmp_path_factory.mktemp("guarded"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """An application whose run 1 has ended after one epoch, so that every route has an answer."""
    made = Guarded(tmp_path_factory.mktemp("trained"))
    small = {"channels": [2, 3], "hidden_units": 8}
    spec = {"dataset": "digits", "epochs": 1, "samples_per_epoch": 50, "architecture": small}
    assert made.ask("POST", "/runs", "run", json=spec).status_code == 201
    yield made
    made.close()
