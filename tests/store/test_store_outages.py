"""A database that is unavailable raises a specific error, and the store recovers afterwards."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import NullPool, create_engine, make_url, text
from sqlalchemy.exc import DatabaseError, OperationalError

from service.store import runs, schema
from service.store.driver_errors import to_camreel_error
from service.store.sqlite_backup import copy_sqlite
from service.store.store import Store, open_store
from service.store_errors import (
    SchemaMismatch,
    StatementRefused,
    StoreAccessDenied,
    StoreBusy,
    StoreDamaged,
    StoreFull,
    StoreInputOutput,
    StoreMissing,
    StoreReadOnly,
    UnsupportedEncoding,
)
from tests.read_only import read_only


def write(store: Store, name: str = "written") -> None:
    with store.write_session() as session:
        runs.create(session, name, [], {"epochs": 1}, 1)


def names(store: Store) -> list[str]:
    with store.read_session() as session:
        return [run.name for run in runs.list_newest(session, limit=10)]


@pytest.fixture
def administer(postgres_url: str) -> Iterator[Callable[[str], None]]:
    """Executes statements on the PostgreSQL server, outside the store."""
    url = make_url(postgres_url).set(drivername="postgresql+psycopg", database="postgres")
    server = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    name = make_url(postgres_url).database

    def execute(statement: str) -> None:
        with server.connect() as connection:
            connection.execute(text(statement.format(database=name)))

    yield execute
    server.dispose()


@pytest.fixture
def postgres_store(postgres_url: str) -> Iterator[Store]:
    with open_store(postgres_url) as store:
        schema.ensure(store)
        yield store


@pytest.fixture
def sqlite_store(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Store]:
    shutil.copyfile(migrated_sqlite, tmp_path / "camreel.db")
    with open_store(f"sqlite:///{tmp_path / 'camreel.db'}") as store:
        write(store, "before")
        yield store


SQLITE_ERRORS = [
    ("SQLITE_BUSY", StoreBusy),
    ("SQLITE_BUSY_SNAPSHOT", StoreBusy),
    ("SQLITE_LOCKED_SHAREDCACHE", StoreBusy),
    ("SQLITE_NOMEM", StoreBusy),
    ("SQLITE_IOERR_NOMEM", StoreBusy),
    ("SQLITE_READONLY", StoreReadOnly),
    ("SQLITE_READONLY_DIRECTORY", StoreReadOnly),
    ("SQLITE_READONLY_RECOVERY", StoreReadOnly),
    ("SQLITE_READONLY_DBMOVED", StoreMissing),
    ("SQLITE_IOERR", StoreInputOutput),
    ("SQLITE_IOERR_SHORT_READ", StoreInputOutput),
    ("SQLITE_IOERR_FSYNC", StoreInputOutput),
    ("SQLITE_FULL", StoreFull),
    ("SQLITE_PERM", StoreAccessDenied),
    ("SQLITE_AUTH", StoreAccessDenied),
    ("SQLITE_NOTADB", SchemaMismatch),
    ("SQLITE_CORRUPT", StoreDamaged),
    ("SQLITE_CORRUPT_INDEX", StoreDamaged),
    ("SQLITE_CONSTRAINT_NOTNULL", StatementRefused),
]

SQLSTATES = [
    ("08006", StoreBusy),
    ("08P01", StoreBusy),
    ("25006", StoreReadOnly),
    ("25P03", StoreBusy),
    ("28P01", StoreAccessDenied),
    ("3D000", StoreMissing),
    ("40001", StoreBusy),
    ("40P01", StoreBusy),
    ("42501", StoreAccessDenied),
    ("42703", SchemaMismatch),
    ("42P01", SchemaMismatch),
    ("53100", StoreFull),
    ("53200", StoreBusy),
    ("53300", StoreBusy),
    ("55P03", StoreBusy),
    ("57014", StoreBusy),
    ("57P01", StoreBusy),
    ("57P02", StoreBusy),
    ("57P03", StoreBusy),
    ("57P04", StoreMissing),
    ("58030", StoreInputOutput),
    ("XX001", StoreDamaged),
    ("23502", StatementRefused),
]


@pytest.mark.parametrize(("name", "expected"), SQLITE_ERRORS)
def test_sqlite_result_codes_are_translated(name: str, expected, capsys) -> None:
    original = sqlite3.OperationalError("disk I/O error at /var/lib/secret")
    original.sqlite_errorcode = getattr(sqlite3, name)
    for error in (original, OperationalError("INSERT secret", {}, original)):
        translated = to_camreel_error(error)
        assert type(translated) is expected
        assert "secret" not in str(translated)


@pytest.mark.parametrize(("state", "expected"), SQLSTATES)
def test_postgresql_sqlstates_are_translated(state: str, expected, capsys) -> None:
    original = psycopg.errors.lookup(state)("secret")
    translated = to_camreel_error(DatabaseError("INSERT secret", {}, original))
    assert type(translated) is expected
    assert "secret" not in str(translated)


@pytest.mark.postgres
def test_writes_succeed_after_a_server_was_read_only(postgres_store: Store, administer) -> None:
    write(postgres_store, "before")
    terminate = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    )
    administer("ALTER DATABASE {database} SET default_transaction_read_only = on")
    administer(terminate)
    with pytest.raises(StoreReadOnly):
        write(postgres_store)
    assert names(postgres_store) == ["before"]
    # This pooled session started read-only and would stay so; the error removes it from the pool.
    administer("ALTER DATABASE {database} RESET default_transaction_read_only")
    with pytest.raises(StoreReadOnly):
        write(postgres_store)
    write(postgres_store, "after")
    assert names(postgres_store) == ["after", "before"]


@pytest.mark.postgres
def test_connection_lost_before_the_commit_raises_store_busy(
    postgres_store: Store, administer
) -> None:
    def write_and_lose_the_connection() -> None:
        with postgres_store.write_session() as session:
            runs.create(session, "lost", [], {"epochs": 1}, 1)
            administer(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = '{database}'"
            )

    with pytest.raises(StoreBusy):
        write_and_lose_the_connection()
    write(postgres_store, "after")
    assert names(postgres_store) == ["after"]


@pytest.mark.parametrize(
    ("change", "back"),
    [
        ("ALTER TABLE runs RENAME TO runs_", "ALTER TABLE runs_ RENAME TO runs"),
        (
            "ALTER TABLE runs RENAME COLUMN heartbeats TO beats",
            "ALTER TABLE runs RENAME COLUMN beats TO heartbeats",
        ),
    ],
    ids=["table", "column"],
)
def test_missing_table_or_column_is_a_schema_mismatch(store: Store, change, back) -> None:
    write(store, "before")
    with store.write_session() as session:
        session.execute(text(change))
    for call in (names, write):
        with pytest.raises(SchemaMismatch):
            call(store)
    with store.write_session() as session:
        session.execute(text(back))
    write(store, "after")
    assert names(store) == ["after", "before"]


def test_moved_sqlite_file_is_missing_and_not_created_again(
    sqlite_store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "camreel.db"
    file.rename(tmp_path / "moved.db")
    for call in (names, write):
        with pytest.raises(StoreMissing) as error:
            call(sqlite_store)
        assert str(tmp_path) not in str(error.value)
    assert not file.exists()
    (tmp_path / "moved.db").rename(file)
    write(sqlite_store, "after")
    assert names(sqlite_store) == ["after", "before"]


def test_replaced_sqlite_file_is_used_at_once(
    sqlite_store: Store, migrated_sqlite: Path, tmp_path: Path
) -> None:
    restored = tmp_path / "restored.db"
    shutil.copyfile(migrated_sqlite, restored)
    with open_store(f"sqlite:///{restored}") as store:
        write(store, "restored")
    assert names(sqlite_store) == ["before"]
    restored.rename(tmp_path / "camreel.db")
    assert names(sqlite_store) == ["restored"]
    write(sqlite_store, "after")
    with closing(sqlite3.connect(tmp_path / "camreel.db")) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (2,)


@pytest.mark.parametrize("read_only_part", ["file", "folder", "both"])
def test_read_only_sqlite_file_or_folder_can_be_read(
    sqlite_store: Store, tmp_path: Path, read_only_part: str
) -> None:
    file = tmp_path / "camreel.db"
    with read_only(
        *{"file": [file], "folder": [tmp_path], "both": [file, tmp_path]}[read_only_part]
    ):
        sqlite_store.engine.dispose()
        assert names(sqlite_store) == ["before"]
        with pytest.raises(StoreReadOnly):
            write(sqlite_store)
    write(sqlite_store, "after")
    assert names(sqlite_store) == ["after", "before"]


def test_copying_an_invalid_or_missing_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none.db").write_bytes(b"no database" * 1000)
    with pytest.raises(SchemaMismatch):
        copy_sqlite(tmp_path / "none.db", tmp_path / "copy.db")
    with pytest.raises(StoreMissing):
        copy_sqlite(tmp_path / "missing.db", tmp_path / "copy.db")


@pytest.mark.postgres
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
def test_server_with_another_encoding_than_utf8_is_refused(
    postgres_url: str, administer, encoding: str
) -> None:
    administer("DROP DATABASE {database}")
    administer(
        f"CREATE DATABASE {{database}} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' "
        "TEMPLATE template0"
    )
    with (
        open_store(postgres_url) as store,
        pytest.raises(UnsupportedEncoding, match=f"{encoding}.*UTF8"),
    ):
        schema.ensure(store)


@pytest.mark.postgres
def test_client_encoding_is_always_utf8(postgres_url: str) -> None:
    url = make_url(postgres_url).update_query_dict({"client_encoding": "latin1"})
    with open_store(url.render_as_string(hide_password=False)) as store:
        schema.ensure(store)
        write(store, "学習")
        assert names(store) == ["学習"]


def test_sqlite_file_in_utf16_preserves_names(tmp_path: Path) -> None:
    file = tmp_path / "camreel.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA encoding = 'UTF-16le'")
        connection.execute("CREATE TABLE first (id INTEGER)")
        connection.execute("DROP TABLE first")
    with open_store(f"sqlite:///{file}") as store:
        schema.ensure(store)
        write(store, "学習 🧠")
        assert names(store) == ["学習 🧠"]
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA encoding").fetchone() == ("UTF-16le",)
