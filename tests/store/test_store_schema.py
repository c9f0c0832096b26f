"""Migrations create the schema that the models describe; every other schema is refused."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from service.store import database, networks, runs, schema, training_states
from service.store.program_rows import NetworkRow, RunNetworkRow
from service.store.rows import Base, TrainingStateRow
from service.store.store import Store, open_store
from service.store_errors import SchemaMismatch

NEXT_REVISION = '''
"""A later schema."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade() -> None:
    op.add_column("runs", sa.Column("mood", sa.String(16), nullable=True))
'''

START = """
import sys
from alembic.runtime.migration import MigrationContext
from service.store import schema
from service.store.store import open_store

with open_store(sys.argv[1]) as store:
    print("ready", flush=True)
    input()
    schema.ensure(store)
    with store.engine.connect() as connection:
        print(MigrationContext.configure(connection).get_current_revision())
"""


def revision(store: Store) -> str | None:
    with store.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def tables(store: Store) -> set[str]:
    with store.engine.connect() as connection:
        return set(inspect(connection).get_table_names())


@pytest.fixture
def store(empty_url):
    with open_store(empty_url) as store:
        store.prepare()
        yield store


@pytest.fixture
def migrated_store(store) -> Store:
    """A store with the current schema and one run."""
    schema.ensure(store)
    with store.write_session() as session:
        runs.create(session, "kept", ["tag"], {"epochs": 1}, 1)
    return store


@pytest.fixture
def add_migration(migrated_store, tmp_path, monkeypatch) -> Callable[[str], None]:
    """Adds a later migration to those of the program."""

    def add(statements: str = "") -> None:
        folder = tmp_path / "migrations"
        shutil.copytree(Path(__file__).parents[2] / "migrations", folder)
        step = NEXT_REVISION.format(head=revision(migrated_store)) + statements
        (folder / "versions" / "9999_later.py").write_text(step)
        monkeypatch.setattr(schema, "_PACKAGED", folder)

    return add


def get_run_name(store: Store) -> str:
    with store.read_session() as session:
        name: str = session.scalar(text("SELECT name FROM runs"))
    return name


def test_empty_database_gets_the_schema(store):
    assert tables(store) == set()
    schema.ensure(store)
    assert tables(store) == set(Base.metadata.tables) | {"alembic_version"}


def test_migrations_create_the_tables_of_the_models(store):
    schema.ensure(store)
    with store.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_comparison_detects_differences(store):
    schema.ensure(store)
    with store.engine.begin() as connection:
        connection.execute(text("ALTER TABLE runs ADD COLUMN mood VARCHAR(16)"))
        connection.execute(text("DROP INDEX ix_runs_status"))
        context = MigrationContext.configure(connection)
        kinds = {difference[0] for difference in compare_metadata(context, Base.metadata)}
    assert kinds == {"remove_column", "add_index"}


def test_current_database_stays_unchanged(migrated_store):
    initial_revision = revision(migrated_store)
    schema.ensure(migrated_store)
    schema.upgrade(migrated_store)
    assert revision(migrated_store) == initial_revision
    assert get_run_name(migrated_store) == "kept"


def test_older_database_is_refused_with_the_upgrade_command(migrated_store, add_migration):
    add_migration()
    with pytest.raises(SchemaMismatch, match=r"older schema .* camreel db upgrade"):
        schema.ensure(migrated_store)
    assert revision(migrated_store) != "9999"


def test_upgrade_migrates_an_older_database(migrated_store, add_migration):
    add_migration()
    schema.upgrade(migrated_store)
    assert revision(migrated_store) == "9999"
    assert get_run_name(migrated_store) == "kept"
    schema.ensure(migrated_store)


def test_newer_database_is_refused(migrated_store):
    with migrated_store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaMismatch, match="newer schema"):
        schema.ensure(migrated_store)
    assert get_run_name(migrated_store) == "kept"


def test_schema_check_does_not_wait_for_writers(migrated_sqlite, tmp_path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.1)
    file = shutil.copyfile(migrated_sqlite, tmp_path / "written.db")
    with (
        closing(sqlite3.connect(file, isolation_level=None)) as connection,
        open_store(f"sqlite:///{file}") as store,
    ):
        connection.execute("BEGIN IMMEDIATE")
        schema.ensure(store)
        connection.execute("ROLLBACK")


def test_simultaneous_starts_on_an_empty_database_succeed(empty_url):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START, empty_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for _ in range(3)
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    revisions = [process.communicate(timeout=30)[0] for process in processes]
    head = ScriptDirectory.from_config(schema._config()).get_current_head()
    assert revisions == [f"{head}\n"] * 3


@pytest.mark.parametrize("statement", ["CREATE TABLE runs (id INTEGER)", "CREATE TABLE x (y TEXT)"])
def test_database_of_another_program_is_refused_and_not_changed(store, statement):
    with store.engine.begin() as connection:
        connection.execute(text(statement))
    initial_tables = tables(store)
    with pytest.raises(SchemaMismatch, match="none of Camreel's"):
        schema.ensure(store)
    assert tables(store) == initial_tables


def test_upgrade_from_the_first_schema_keeps_runs_and_widens_columns(migrated_store):
    config = schema._config()
    with migrated_store.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    schema.upgrade(migrated_store)
    assert get_run_name(migrated_store) == "kept"
    with migrated_store.engine.connect() as connection:
        columns = {
            column["name"]: column["type"] for column in inspect(connection).get_columns("heatmaps")
        }
        assert (columns["method"].length, columns["layer"].length) == (200, 200)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_downgrade_to_one_training_state_keeps_the_last(migrated_store):
    with migrated_store.write_session() as session:
        for epoch in (1, 3, 2):
            row = TrainingStateRow(run_id=1, epoch=epoch, sha256="0" * 64, bytes=5, blob_key="key")
            session.add(row)
    config = schema._config()
    with migrated_store.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0014")
    schema.upgrade(migrated_store)
    with migrated_store.read_session() as session:
        assert [state.epoch for state in training_states.list_states(session, 1)] == [3]


def test_networks_of_runs_move_to_a_new_table_and_back(migrated_store):
    created_at = datetime(2026, 11, 1, tzinfo=UTC)
    with migrated_store.write_session() as session:
        session.add(
            NetworkRow(id="0" * 64, program=b"{}", created_at=created_at, used_at=created_at)
        )
        session.flush()
        session.add(RunNetworkRow(run_id=1, network_id="0" * 64))
    config = schema._config()
    with migrated_store.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0016")
        rows = connection.execute(text("SELECT run_id, network_id FROM recordings")).all()
    assert [tuple(row) for row in rows] == [(1, "0" * 64)]
    schema.upgrade(migrated_store)
    with migrated_store.read_session() as session:
        assert networks.get_id_of_run(session, 1) == "0" * 64


def test_full_downgrade_leaves_an_empty_database(migrated_store):
    config = schema._config()
    with migrated_store.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert tables(migrated_store) == {"alembic_version"}
    with migrated_store.engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() is None


def test_failed_migration_changes_nothing(migrated_store, add_migration):
    initial_revision = revision(migrated_store)
    add_migration('    op.execute("no such statement")\n')
    with pytest.raises(SchemaMismatch, match=r"is as it was: .*no"):
        schema.upgrade(migrated_store)
    assert revision(migrated_store) == initial_revision
    with migrated_store.engine.connect() as connection:
        columns = {column["name"] for column in inspect(connection).get_columns("runs")}
    assert "mood" not in columns


@pytest.mark.parametrize("name", ["100%", "%(here)s", "a:b c", "what?x"])
def test_migrations_are_loaded_from_a_folder_of_any_name(store, tmp_path, monkeypatch, name):
    folder = tmp_path / name / "migrations"
    shutil.copytree(Path(__file__).parents[2] / "migrations", folder)
    monkeypatch.setattr(schema, "_PACKAGED", folder)
    schema.ensure(store)
    assert "runs" in tables(store)
