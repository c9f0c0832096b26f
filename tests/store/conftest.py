"""Stores on SQLite and, if a server is configured, on PostgreSQL, created by the migrations."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, NullPool, create_engine, make_url, text

from service.store import epochs, runs, schema
from service.store.epochs import Checkpoint, EpochMetrics
from service.store.rows import Base
from service.store.runs import Run
from service.store.store import Store, open_store

DATABASES = [
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.postgres),
]


@pytest.fixture(scope="session")
def postgres_database() -> Iterator[URL]:
    """A new database on the server at CAMREEL_TEST_POSTGRES_URL, dropped at the end."""
    url = os.environ.get("CAMREEL_TEST_POSTGRES_URL")
    if not url:
        pytest.skip("CAMREEL_TEST_POSTGRES_URL is not set")
    server = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    name = f"camreel_test_{uuid.uuid4().hex}"
    with server.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    yield make_url(url).set(database=name)
    with server.connect() as connection:
        connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture(scope="session")
def empty_postgres(postgres_database: URL) -> Callable[[], str]:
    """Creates empty schemas in the database; returns URLs whose search path is only that schema."""

    def make() -> str:
        name = f"empty_{uuid.uuid4().hex}"
        engine = create_engine(postgres_database, poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text(f'CREATE SCHEMA "{name}"'))
        # Durability is not tested here, so no test waits for the server's disk. The time zone
        # verifies that timestamps are returned in UTC whatever the server's zone is.
        options = f"-csearch_path={name} -csynchronous_commit=off -ctimezone=Asia/Kolkata"
        return postgres_database.update_query_dict({"options": options}).render_as_string(
            hide_password=False
        )

    return make


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema and no rows, to be copied."""
    file = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    with open_store(f"sqlite:///{file}") as store:
        schema.ensure(store)
    return file


@pytest.fixture(scope="session")
def migrated_postgres(empty_postgres: Callable[[], str]) -> str:
    """A PostgreSQL schema with all tables, emptied before each test."""
    url = empty_postgres()
    with open_store(url) as store:
        schema.ensure(store)
    return url


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with the schema and no rows."""
    if request.param == "sqlite":
        file = tmp_path / "camreel.db"
        shutil.copyfile(request.getfixturevalue("migrated_sqlite"), file)
        return f"sqlite:///{file}"
    url: str = request.getfixturevalue("migrated_postgres")
    with open_store(url) as store, store.engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
    return url


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    make = request.getfixturevalue("empty_postgres")
    return str(make())


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    with open_store(database_url) as opened_store:
        yield opened_store


@pytest.fixture
def new_run(store: Store) -> Callable[..., Run]:
    """Creates a queued run and commits it."""

    def create(name: str = "", tags: tuple[str, ...] = (), epochs: int = 3) -> Run:
        with store.write_session() as session:
            return runs.create(session, name, list(tags), {"epochs": epochs}, epochs)

    return create


METRICS = EpochMetrics(
    train_loss=0.5,
    train_accuracy=0.8,
    test_loss=0.4,
    test_accuracy=0.9,
    per_class_accuracy=[0.25, 1.0],
    learning_rate=1.0,
    seconds=1.5,
)


@pytest.fixture
def add_epoch(store: Store) -> Callable[..., Checkpoint]:
    """Adds an epoch with the bytes of its checkpoint and commits them."""

    def add(run: Run, epoch: int, metrics: EpochMetrics = METRICS) -> Checkpoint:
        key = f"runs/{run.id}/epochs/{epoch}.safetensors"
        checkpoint = Checkpoint(f"{epoch:064x}", 5, key)
        with store.write_session() as session:
            store.blobs.put(session, key, b"bytes")
            epochs.add(session, run.id, epoch, metrics, checkpoint)
        return checkpoint

    return add
