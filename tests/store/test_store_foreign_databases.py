"""A database that is not Camreel's or incomplete is refused in one line and not changed."""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from service.errors import CamreelError
from service.flows.doctor.examination import examine
from service.store import schema
from service.store.store import Store, open_store
from service.store_errors import SchemaMismatch


def execute(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def another_program(file: Path) -> None:
    file.unlink()
    execute(file, "CREATE TABLE notes (title TEXT)", "INSERT INTO notes VALUES ('keep')")


def another_program_in_wal(file: Path) -> None:
    file.unlink()
    execute(file, "PRAGMA journal_mode=WAL", "CREATE TABLE notes (title TEXT)")


def another_program_of_alembic(file: Path) -> None:
    file.unlink()
    execute(
        file,
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)",
        "INSERT INTO alembic_version VALUES ('0007')",
        "CREATE TABLE runs (miles REAL)",
    )


def only_a_view(file: Path) -> None:
    file.unlink()
    execute(file, "CREATE VIEW answers AS SELECT 42 AS answer")


def newer_version(file: Path) -> None:
    execute(file, "UPDATE alembic_version SET version_num = '9999'")


def two_versions(file: Path) -> None:
    execute(file, "INSERT INTO alembic_version VALUES ('0001')")


def unversioned(file: Path) -> None:
    execute(file, "DROP TABLE alembic_version")


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:20_000])


def truncated_header(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:60])


def text_file(file: Path) -> None:
    file.write_bytes(b"dear diary, " * 1000)


def one_byte(file: Path) -> None:
    file.write_bytes(b"x")


MESSAGES = {
    another_program: "another program's",
    another_program_in_wal: "another program's",
    another_program_of_alembic: "another program's",
    only_a_view: "another program's",
    newer_version: "newer schema",
    two_versions: "not the version",
    unversioned: "not the version",
    truncated: "damaged",
    truncated_header: "damaged",
    text_file: "no SQLite database",
    one_byte: "no SQLite database",
}


@pytest.fixture
def sqlite_file(migrated_sqlite: Path, tmp_path: Path) -> Path:
    file = tmp_path / "camreel.db"
    file.write_bytes(migrated_sqlite.read_bytes())
    file.chmod(0o600)
    return file


@pytest.mark.parametrize("change", MESSAGES)
@pytest.mark.parametrize("use", [schema.upgrade, schema.ensure], ids=["upgrade", "ensure"])
def test_foreign_or_damaged_database_is_refused_and_not_changed(
    sqlite_file: Path, change: Callable[[Path], None], use: Callable[[Store], None]
) -> None:
    change(sqlite_file)
    initial_digest = hashlib.sha256(sqlite_file.read_bytes()).hexdigest()
    with (
        open_store(sqlite_file) as store,
        pytest.raises(CamreelError, match=MESSAGES[change]) as error,
    ):
        use(store)
    assert "\n" not in str(error.value)
    assert hashlib.sha256(sqlite_file.read_bytes()).hexdigest() == initial_digest


DIFFERENCES = {
    "DROP TABLE predictions": "no table predictions",
    "ALTER TABLE runs DROP COLUMN origin": "runs has no column origin",
    "ALTER TABLE runs RENAME COLUMN spec TO recipe": "runs has no column spec",
}
ON_POSTGRESQL = {
    "ALTER TABLE audit ADD COLUMN mood VARCHAR(9) NOT NULL": "audit has a column mood",
    "ALTER TABLE audit ALTER COLUMN actor DROP NOT NULL": "audit.actor has another rule",
    "ALTER TABLE audit ALTER COLUMN actor TYPE INTEGER USING 0": "audit.actor has another type",
    "ALTER TABLE tokens DROP CONSTRAINT uq_tokens_digest": "tokens has no constraint",
    "ALTER TABLE probes DROP CONSTRAINT pk_probes": "probes has another primary key",
    "ALTER TABLE probes DROP CONSTRAINT fk_probes_run_id_runs": "probes has no constraint",
}


@pytest.fixture
def changed_schema(empty_url: str) -> Iterator[Callable[[str], Store]]:
    """Creates the schema and executes a statement that changes it."""
    with open_store(empty_url) as store:
        schema.ensure(store)

        def execute(statement: str) -> Store:
            if statement in ON_POSTGRESQL and store.engine.dialect.name == "sqlite":
                pytest.skip("SQLite cannot alter a column or drop a constraint")
            with store.engine.begin() as connection:
                connection.execute(text(statement))
            return store

        yield execute


@pytest.mark.parametrize(("statement", "line"), [*DIFFERENCES.items(), *ON_POSTGRESQL.items()])
def test_schema_difference_is_reported_at_startup_and_by_the_doctor(
    changed_schema: Callable[[str], Store], statement: str, line: str
) -> None:
    store = changed_schema(statement)
    with pytest.raises(SchemaMismatch, match=line) as error:
        schema.ensure(store)
    assert "\n" not in str(error.value)
    with pytest.raises(SchemaMismatch, match=line):
        schema.upgrade(store)
    (check,) = examine(store).findings
    assert (check.check, check.finding.severity) == ("schema", "damage")


def test_missing_index_is_a_warning(
    changed_schema: Callable[[str], Store],
) -> None:
    store = changed_schema("DROP INDEX ix_runs_status")
    schema.ensure(store)
    (check,) = examine(store).findings
    assert (check.finding.severity, check.finding.message) == (
        "warning",
        "the index ix_runs_status is missing: queries are slow",
    )


@pytest.mark.postgres
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW answers AS SELECT 42 AS answer",
        "CREATE MATERIALIZED VIEW answers AS SELECT 42 AS answer",
        "CREATE SEQUENCE numbers",
        "CREATE TABLE notes (title TEXT) PARTITION BY LIST (title)",
    ],
)
def test_postgresql_schema_of_another_program_is_refused(
    empty_postgres: Callable[[], str], statement: str
) -> None:
    with open_store(empty_postgres()) as store:
        with store.engine.begin() as connection:
            connection.execute(text(statement))
        for use in (schema.upgrade, schema.ensure):
            with pytest.raises(SchemaMismatch, match="another program's"):
                use(store)


def test_older_schema_without_a_table_is_not_migrated(
    changed_schema: Callable[[str], Store],
) -> None:
    store = changed_schema("DROP TABLE predictions")
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0002'"))
    with pytest.raises(SchemaMismatch, match="is as it was") as error:
        schema.upgrade(store)
    assert "\n" not in str(error.value)
    with store.engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "0002"
