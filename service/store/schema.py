"""The schema of the database: migrations, and checks that it is the one of this program."""

from collections.abc import Hashable
from enum import StrEnum
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from cachetools import LRUCache, cached
from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from service.store import (  # noqa: F401  their tables are part of the schema
    access_rows,
    epoch_insight_rows,
    experiment_rows,
    insight_rows,
    program_rows,
)
from service.store.database import read_only_connection, schema_transaction
from service.store.rows import Base
from service.store.store import Store
from service.store_errors import SchemaMismatch, StatementRefused

UPGRADE_LOCK = 0x43414D52  # arbitrary, for pg_advisory_xact_lock

OBJECTS = {
    "sqlite": "SELECT name FROM sqlite_master",
    "postgresql": """
        SELECT relname FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND NOT EXISTS (
            SELECT FROM pg_depend
            WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e'
        )
    """,
}
"""Queries for all objects of a database, including views, without those of extensions."""

# Tables of every version of the schema. A database with two of them is Camreel's.
SIGNATURE = {"runs", "run_tags", "epochs", "checkpoints", "heatmaps", "probes"}
MAX_DIFFERENCES = 5  # in an error message

SQLITE_SCHEMA = text("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name")

_PACKAGED = Path(__file__).parent.parent / "migrations"
_CHECKOUT = Path(__file__).parent.parent.parent / "migrations"


class SchemaState(StrEnum):
    """A database's schema, compared with this program's."""

    EMPTY = "empty"
    OLDER = "older"
    CURRENT = "current"


def upgrade(store: Store) -> None:
    """Migrate an empty database, or one of an older version of Camreel, to this program's schema.

    Raises SchemaMismatch for any other database, and if a migration fails; the database is then
    unchanged.
    """
    store.prepare()
    with read_only_connection(store.engine) as connection:
        _version(connection)
    _migrate(store)


def ensure(store: Store) -> None:
    """Create the schema in an empty database. Raises SchemaMismatch if it has another schema."""
    store.prepare()
    with read_only_connection(store.engine) as connection:
        version = _version(connection)
        differences = [] if version is not SchemaState.CURRENT else _differences(connection)
    if version is SchemaState.OLDER:
        raise SchemaMismatch(
            "The database has an older schema than this program. "
            "Make a copy of it, then run: camreel db upgrade"
        )
    if version is SchemaState.EMPTY:
        _migrate(store)
    _refuse(differences)


def check(store: Store) -> None:
    """Raises SchemaMismatch if the database has no schema or another one. Changes nothing."""
    with read_only_connection(store.engine) as connection:
        if _version(connection) is not SchemaState.CURRENT:
            raise SchemaMismatch("The database has another schema than this program.")
        _refuse(_differences(connection))


def missing_indexes(store: Store) -> list[str]:
    """Names of non-unique indexes that the database lacks."""
    with read_only_connection(store.engine) as connection:
        return [
            difference[1].name
            for difference in _compare(connection)
            if difference[0] == "add_index" and not difference[1].unique
        ]


def _migrate(store: Store) -> None:
    config = _config()
    try:
        with schema_transaction(store.engine) as connection:
            if connection.dialect.name == "postgresql":
                # Processes that start at the same time migrate one after another, as on SQLite.
                connection.execute(
                    text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK}
                )
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            _refuse(_differences(connection))
    except (StatementRefused, SchemaMismatch) as error:
        if not isinstance(error.__cause__, DBAPIError):
            raise
        raise SchemaMismatch(
            "The database could not be brought to this program's schema, and is as it was: "
            + str(error.__cause__.orig).partition("\n")[0]
        ) from error


def _version(connection: Connection) -> SchemaState:
    """State of the schema. Raises SchemaMismatch if it is newer, or not Camreel's."""
    names = set(connection.scalars(text(OBJECTS[connection.dialect.name])))
    if not names:
        return SchemaState.EMPTY
    if len(SIGNATURE & names) < 2:
        raise SchemaMismatch(
            "The database is another program's: it has tables, but none of Camreel's"
        )
    try:
        current = MigrationContext.configure(connection).get_current_revision()
    except (CommandError, DBAPIError):  # several revisions, or another form of the table
        current = None
    script = _scripts(_migrations())
    if current is None:
        raise SchemaMismatch(
            "The database has tables as Camreel has, but not the version of their schema: restore "
            "a backup of it."
        )
    if current == script.get_current_head():
        return SchemaState.CURRENT
    if current in {revision.revision for revision in script.walk_revisions()}:
        return SchemaState.OLDER
    raise SchemaMismatch(
        "The database has a newer schema than this program. Install the version of Camreel that "
        "wrote it, or a later one; camreel db upgrade of that version migrates."
    )


def _refuse(differences: list[str]) -> None:
    if not differences:
        return
    hidden_count = len(differences) - MAX_DIFFERENCES
    raise SchemaMismatch(
        "The database's schema is not the one of its version: "
        + ", ".join(differences[:MAX_DIFFERENCES])
        + (f" and {hidden_count} more" if hidden_count > 0 else "")
        + ". Restore a backup."
    )


def _differences(connection: Connection) -> list[str]:
    """Differences that would make statements of this program fail, or lose rows."""
    is_sqlite = connection.dialect.name == "sqlite"
    return _sqlite_differences(connection) if is_sqlite else _find_differences(connection)


def _sqlite_schema(connection: Connection) -> Hashable:
    return tuple(connection.execute(SQLITE_SCHEMA).all())


# The schema is all that they depend on. Reflecting the tables takes ten times as long as reading
# it, and a process opens its database several times.
@cached(LRUCache(16), key=_sqlite_schema, lock=Lock())
def _sqlite_differences(connection: Connection) -> list[str]:
    return _find_differences(connection)


def _find_differences(connection: Connection) -> list[str]:
    lines = [_description(difference) for difference in _compare(connection)]
    inspector = inspect(connection)
    for table in Base.metadata.sorted_tables:
        if inspector.has_table(table.name):
            key = inspector.get_pk_constraint(table.name)["constrained_columns"]
            if key != [column.name for column in table.primary_key]:
                lines.append(f"{table.name} has another primary key")
    return [line for line in lines if line is not None]


def _compare(connection: Connection) -> list[tuple[Any, ...]]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    entries = compare_metadata(context, Base.metadata)
    # The differences of a column are a nested list.
    return [
        difference
        for entry in entries
        for difference in (entry if isinstance(entry, list) else [entry])
    ]


def _description(difference: tuple[Any, ...]) -> str | None:
    match difference:
        case ("add_table", table):
            return f"it has no table {table.name}"
        case ("add_column", _, table, column):
            return f"{table} has no column {column.name}"
        case ("remove_column", _, table, column):
            is_required = not (column.nullable or column.server_default)
            return f"{table} has a column {column.name} that needs a value" if is_required else None
        case ("modify_type" | "modify_nullable" as operation, _, table, column, *_):
            aspect = "type" if operation == "modify_type" else "rule for null"
            return f"{table}.{column} has another {aspect}"
        case ("add_index" | "add_constraint", constraint) if getattr(constraint, "unique", True):
            return f"{constraint.table.name} has no constraint {constraint.name}"
        case ("add_fk", key):
            return f"{key.parent.name} has no constraint {key.name}"
        case ("remove_constraint" | "remove_fk", constraint):
            return f"{constraint.table.name} has a constraint {constraint.name} that is not ours"
    return None


@cache
def _scripts(folder: Path) -> ScriptDirectory:
    return ScriptDirectory.from_config(_config_of(folder))


def _config() -> Config:
    return _config_of(_migrations())


def _config_of(folder: Path) -> Config:
    config = Config()
    # Alembic's configuration interpolates %.
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config


def _migrations() -> Path:
    """The folder of the migrations."""
    return _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
