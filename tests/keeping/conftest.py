"""A small run, trained once for each type of blob store, and copies of it for each test."""

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
from service.flows.transfer.exporting import export_run
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
BLOB_TYPES = ("sql", "file")
MAINLY_SQL = ("sql", pytest.param("file", marks=pytest.mark.torture))
"""For files whose tests read blobs, but do not depend on where they are."""


@dataclass(frozen=True)
class StateFolder:
    """A state folder: a database, with blobs in it or in files."""

    folder: Path
    blob_type: str

    @property
    def file(self) -> Path:
        return self.folder / "camreel.db"

    @property
    def database(self) -> Path | str:
        return self.file

    @property
    def blobs(self) -> str:
        return "sql" if self.blob_type == "sql" else f"file:{self.folder / 'blobs'}"

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.database, self.blobs, self.folder)

    def open_store(self):
        return open_store(self.database, self.blobs)

    @contextmanager
    def client(self, **settings) -> Iterator[TestClient]:
        """A service on this state folder, without a socket."""
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

    def checkpoint_bytes(self, epoch: int, run: int = 1) -> bytes:
        with self.open_store() as store, store.read_session() as session:
            return store.blobs.get(session, epochs.get(session, run, epoch).checkpoint.blob_key)

    def replace_checkpoint(self, epoch: int, data: bytes | None, run: int = 1) -> None:
        """Replace the bytes of a checkpoint; None deletes them."""
        with self.open_store() as store, store.write_session() as session:
            key = epochs.get(session, run, epoch).checkpoint.blob_key
            if data is None:
                store.blobs.delete(session, [key])
            else:
                store.blobs.put(session, key, data)

    def execute(self, statement: str, **values) -> list[tuple]:
        with self.open_store() as store, store.write_session() as session:
            result = session.execute(text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []


def train(state_folder: StateFolder, spec: RunSpec = SPEC) -> int:
    with state_folder.open_store() as store:
        schema.ensure(store)
        return start_run(store, InlineExecutor(), state_folder.workspace, spec).id


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> dict[str, StateFolder]:
    """State folders of the run by type of blob store; copied, never changed."""
    folders = {}
    for blob_type in BLOB_TYPES:
        state_folder = folders[blob_type] = StateFolder(
            tmp_path_factory.mktemp(f"trained-{blob_type}"), blob_type
        )
        train(state_folder)
    return folders


@pytest.fixture(params=BLOB_TYPES)
def blob_type(request) -> str:
    return request.param


@pytest.fixture
def state_folder(trained, blob_type, tmp_path) -> StateFolder:
    """A copy of the state folder that a test may change."""
    shutil.copytree(trained[blob_type].folder, tmp_path / "state")
    return StateFolder(tmp_path / "state", blob_type)


@pytest.fixture
def store(state_folder) -> Iterator[Store]:
    with state_folder.open_store() as opened_store:
        yield opened_store


@pytest.fixture(scope="session")
def exported_run(trained, tmp_path_factory) -> Path:
    """The trained run, exported from a store with blobs in files."""
    file = tmp_path_factory.mktemp("exported") / "run.camreel"
    with trained["file"].open_store() as store:
        size = export_run(store, 1, file)
    assert size == file.stat().st_size
    return file


@pytest.fixture
def empty_state_folder(blob_type, tmp_path) -> StateFolder:
    """The state folder of another service, with the schema and no rows."""
    state_folder = StateFolder(tmp_path / "empty", blob_type)
    with state_folder.open_store() as store:
        schema.ensure(store)
    return state_folder
