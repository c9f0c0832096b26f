"""A small run, trained once for each kind of blob store, and copies of it to do harm to."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from service.app import create_app
from service.core.spec import RunSpec
from service.flows.runs import start_run
from service.flows.workspace import Workspace
from service.jobs.inline import InlineExecutor
from service.settings import Settings
from service.store import epochs, schema
from service.store.store import Store, open_store

EPOCHS = 3
SPEC = RunSpec(
    dataset="digits",
    epochs=EPOCHS,
    samples_per_epoch=60,
    architecture={"channels": [2, 3], "hidden_units": 8},
    name="kept",
    tags=["one", "two"],
)
KINDS = ("sql", "file")


@dataclass(frozen=True)
class Place:
    """A state folder: its database, and its blobs in it or beside it."""

    folder: Path
    kind: str

    @property
    def file(self) -> Path:
        return self.folder / "camreel.db"

    @property
    def database(self) -> Path | str:
        return self.file

    @property
    def blobs(self) -> str:
        return "sql" if self.kind == "sql" else f"file:{self.folder / 'blobs'}"

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.database, self.blobs, self.folder)

    def opened(self):
        return open_store(self.database, self.blobs)

    @contextmanager
    def client(self, **settings) -> Iterator[TestClient]:
        """A service on this place, without a socket."""
        app = create_app(
            Settings(
                _env_file=None,
                state_dir=self.folder,
                database_url=None if self.database == self.file else self.database,
                blobs=self.blobs,
                executor="inline",
                **({"min_free_bytes": 0} | settings),
            )
        )
        with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
            yield client

    def bytes_of(self, epoch: int, run: int = 1) -> bytes:
        with self.opened() as store, store.read_session() as session:
            return store.blobs.get(session, epochs.get(session, run, epoch).checkpoint.blob_key)

    def put(self, epoch: int, data: bytes | None, run: int = 1) -> None:
        """Other bytes in the place of a checkpoint's; None takes them away."""
        with self.opened() as store, store.write_session() as session:
            key = epochs.get(session, run, epoch).checkpoint.blob_key
            if data is None:
                store.blobs.delete(session, [key])
            else:
                store.blobs.put(session, key, data)

    def execute(self, statement: str, **values) -> list[tuple]:
        with self.opened() as store, store.write_session() as session:
            result = session.execute(text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []


def train(place: Place, spec: RunSpec = SPEC) -> int:
    with place.opened() as store:
        schema.ensure(store)
        return start_run(store, InlineExecutor(), place.workspace, spec).id


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> dict[str, Place]:
    """The run, by the kind of its blobs; to be copied, never changed."""
    made = {}
    for kind in KINDS:
        place = made[kind] = Place(tmp_path_factory.mktemp(f"trained-{kind}"), kind)
        train(place)
    return made


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture
def place(trained, kind, tmp_path) -> Place:
    """A copy of the run, for a test to do as it likes."""
    shutil.copytree(trained[kind].folder, tmp_path / "state")
    return Place(tmp_path / "state", kind)


@pytest.fixture
def store(place) -> Iterator[Store]:
    with place.opened() as found:
        yield found
