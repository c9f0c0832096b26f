"""The migrations make the schema that the program's tables describe, and no other is met."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from service.errors import SchemaMismatch
from service.store import database, runs, schema
from service.store.rows import Base
from service.store.store import Store, open_store

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
def made(store) -> Store:
    """A database with this program's schema, and a run in it."""
    schema.ensure(store)
    with store.write_session() as session:
        runs.create(session, "kept", ["tag"], {"epochs": 1}, 1)
    return store


@pytest.fixture
def next_step(made, tmp_path, monkeypatch) -> Callable[[str], None]:
    """From its call on, the program is one whose migrations go a step further."""

    def add(more: str = "") -> None:
        folder = tmp_path / "migrations"
        shutil.copytree(Path(__file__).parents[2] / "migrations", folder)
        step = NEXT_REVISION.format(head=revision(made)) + more
        (folder / "versions" / "9999_later.py").write_text(step)
        monkeypatch.setattr(schema, "_PACKAGED", folder)

    return add


def name_of_the_run(store: Store) -> str:
    with store.read_session() as session:
        name: str = session.scalar(text("SELECT name FROM runs"))
    return name


def test_an_empty_database_gets_the_schema(store):
    assert tables(store) == set()
    schema.ensure(store)
    assert tables(store) == set(Base.metadata.tables) | {"alembic_version"}


def test_migrations_make_the_tables_that_the_program_describes(store):
    schema.ensure(store)
    with store.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_the_comparison_sees_a_difference(store):
    schema.ensure(store)
    with store.engine.begin() as connection:
        connection.execute(text("ALTER TABLE runs ADD COLUMN mood VARCHAR(16)"))
        connection.execute(text("DROP INDEX ix_runs_status"))
        context = MigrationContext.configure(connection)
        kinds = {difference[0] for difference in compare_metadata(context, Base.metadata)}
    assert kinds == {"remove_column", "add_index"}


def test_a_database_of_this_program_is_left_as_it_is(made):
    before = revision(made)
    schema.ensure(made)
    schema.upgrade(made)
    assert revision(made) == before
    assert name_of_the_run(made) == "kept"


def test_an_older_database_is_refused_with_the_command_that_migrates(made, next_step):
    next_step()
    with pytest.raises(SchemaMismatch, match=r"older schema .* camreel db upgrade"):
        schema.ensure(made)
    assert revision(made) != "9999"


def test_an_upgrade_brings_an_older_database_to_the_program(made, next_step):
    next_step()
    schema.upgrade(made)
    assert revision(made) == "9999"
    assert name_of_the_run(made) == "kept"
    schema.ensure(made)


def test_a_newer_database_is_refused(made):
    with made.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaMismatch, match="newer schema"):
        schema.ensure(made)
    assert name_of_the_run(made) == "kept"


def test_a_database_that_another_writes_to_is_looked_at_without_waiting(
    migrated_sqlite, tmp_path, monkeypatch
):
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.1)
    file = shutil.copyfile(migrated_sqlite, tmp_path / "written.db")
    with (
        closing(sqlite3.connect(file, isolation_level=None)) as other,
        open_store(f"sqlite:///{file}") as store,
    ):
        other.execute("BEGIN IMMEDIATE")
        schema.ensure(store)
        other.execute("ROLLBACK")


def test_programs_that_start_at_once_on_an_empty_database_all_find_the_schema(empty_url):
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", START, empty_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for _ in range(3)
    ]
    assert [program.stdout.readline() for program in programs] == ["ready\n"] * 3
    for program in programs:
        program.stdin.write("go\n")
        program.stdin.flush()
    answers = [program.communicate(timeout=30)[0] for program in programs]
    head = ScriptDirectory.from_config(schema._config()).get_current_head()
    assert answers == [f"{head}\n"] * 3


@pytest.mark.parametrize("statement", ["CREATE TABLE runs (id INTEGER)", "CREATE TABLE x (y TEXT)"])
def test_a_database_of_another_program_is_refused_and_left_alone(store, statement):
    with store.engine.begin() as connection:
        connection.execute(text(statement))
    before = tables(store)
    with pytest.raises(SchemaMismatch, match="none of Camreel's"):
        schema.ensure(store)
    assert tables(store) == before


def test_a_database_of_the_first_schema_keeps_its_runs_and_takes_longer_names(made):
    config = schema._config()
    with made.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    schema.upgrade(made)
    assert name_of_the_run(made) == "kept"
    with made.engine.connect() as connection:
        columns = {one["name"]: one["type"] for one in inspect(connection).get_columns("heatmaps")}
        assert (columns["method"].length, columns["layer"].length) == (200, 200)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_way_back_leaves_an_empty_database(made):
    config = schema._config()
    with made.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert tables(made) == {"alembic_version"}
    with made.engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() is None


def test_a_migration_that_fails_leaves_the_database_as_it_was(made, next_step):
    before = revision(made)
    next_step('    op.execute("no such statement")\n')
    with pytest.raises(SchemaMismatch, match=r"is as it was: .*no"):
        schema.upgrade(made)
    assert revision(made) == before
    with made.engine.connect() as connection:
        columns = {column["name"] for column in inspect(connection).get_columns("runs")}
    assert "mood" not in columns


@pytest.mark.parametrize("name", ["100%", "%(here)s", "a:b c", "what?x"])
def test_migrations_are_found_in_a_folder_of_any_name(store, tmp_path, monkeypatch, name):
    folder = tmp_path / name / "migrations"
    shutil.copytree(Path(__file__).parents[2] / "migrations", folder)
    monkeypatch.setattr(schema, "_PACKAGED", folder)
    schema.ensure(store)
    assert "runs" in tables(store)
