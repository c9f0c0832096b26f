"""The schema's version: migrations make it, and a program meets no other than its own."""

from enum import StrEnum
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from service.errors import SchemaMismatch, StatementRefused
from service.store.database import read_only_connection, schema_transaction
from service.store.rows import Base
from service.store.store import Store

UPGRADE_LOCK = 0x43414D52  # any number that no other program on the server uses

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
"""Everything that a database has in it, views and foreign tables too; an extension's is not ours to
count.
"""

# Of the first schema and of every later one: two of them are no coincidence.
SIGNATURE = {"runs", "run_tags", "epochs", "checkpoints", "heatmaps", "probes"}
MAX_DIFFERENCES = 5  # that a message names

_PACKAGED = Path(__file__).parent.parent / "migrations"
_CHECKOUT = Path(__file__).parent.parent.parent / "migrations"


class SchemaState(StrEnum):
    """How a database's schema stands to this program's."""

    EMPTY = "empty"
    OLDER = "older"
    CURRENT = "current"


def upgrade(store: Store) -> None:
    """Bring an empty database, or an older one of Camreel's, to this program's schema.

    Raises SchemaMismatch for any other, which is not written to, and where it cannot be done: the
    database is then as it was.
    """
    store.prepare()
    with read_only_connection(store.engine) as connection:
        _version(connection)
    _migrate(store)


def ensure(store: Store) -> None:
    """Make the schema in an empty database. Raises SchemaMismatch for one that is not ours."""
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
    """Raises SchemaMismatch for a database that has another schema, or none; nothing is made."""
    with read_only_connection(store.engine) as connection:
        if _version(connection) is not SchemaState.CURRENT:
            raise SchemaMismatch("The database has another schema than this program.")
        _refuse(_differences(connection))


def missing_indexes(store: Store) -> list[str]:
    """Names of indexes that make queries fast, and that the database lost."""
    with read_only_connection(store.engine) as connection:
        return [
            difference[1].name
            for difference in _compared(connection)
            if difference[0] == "add_index" and not difference[1].unique
        ]


def _migrate(store: Store) -> None:
    config = _config()
    try:
        with schema_transaction(store.engine) as connection:
            if connection.dialect.name == "postgresql":
                # Programs that start at once upgrade in turn, as SQLite's own lock has them do.
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
    """Raises SchemaMismatch for a database that is newer, or not Camreel's."""
    names = set(connection.scalars(text(OBJECTS[connection.dialect.name])))
    if not names:
        return SchemaState.EMPTY
    if len(SIGNATURE & names) < 2:
        raise SchemaMismatch(
            "The database is another program's: it has tables, but none of Camreel's"
        )
    try:
        current = MigrationContext.configure(connection).get_current_revision()
    except (CommandError, DBAPIError):  # several revisions, or a table of another form
        current = None
    script = ScriptDirectory.from_config(_config())
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
    more = len(differences) - MAX_DIFFERENCES
    raise SchemaMismatch(
        "The database's schema is not the one of its version: "
        + ", ".join(differences[:MAX_DIFFERENCES])
        + (f" and {more} more" if more > 0 else "")
        + ". Restore a backup."
    )


def _differences(connection: Connection) -> list[str]:
    """What statements of this program would fail on, or rows would get lost by."""
    lines = [_line(difference) for difference in _compared(connection)]
    inspector = inspect(connection)
    for table in Base.metadata.sorted_tables:
        if inspector.has_table(table.name):
            key = inspector.get_pk_constraint(table.name)["constrained_columns"]
            if key != [column.name for column in table.primary_key]:
                lines.append(f"{table.name} has another primary key")
    return [line for line in lines if line is not None]


def _compared(connection: Connection) -> list[tuple[Any, ...]]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    parts = compare_metadata(context, Base.metadata)
    # What differs in a column comes as a list of its own.
    return [one for part in parts for one in (part if isinstance(part, list) else [part])]


def _line(difference: tuple[Any, ...]) -> str | None:
    match difference:
        case ("add_table", table):
            return f"it has no table {table.name}"
        case ("add_column", _, table, column):
            return f"{table} has no column {column.name}"
        case ("remove_column", _, table, column):
            needs = not (column.nullable or column.server_default)
            return f"{table} has a column {column.name} that needs a value" if needs else None
        case ("modify_type" | "modify_nullable" as kind, _, table, column, *_):
            what = "type" if kind == "modify_type" else "rule for null"
            return f"{table}.{column} has another {what}"
        case ("add_index" | "add_constraint", constraint) if getattr(constraint, "unique", True):
            return f"{constraint.table.name} has no constraint {constraint.name}"
        case ("add_fk", key):
            return f"{key.parent.name} has no constraint {key.name}"
        case ("remove_constraint" | "remove_fk", constraint):
            return f"{constraint.table.name} has a constraint {constraint.name} that is not ours"
    return None


def _config() -> Config:
    config = Config()
    folder = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    # Its files take % for an interpolation.
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config
