"""The schema's version: migrations make it, and a program meets no other than its own."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from service.errors import SchemaMismatch
from service.store.store import Store

UPGRADE_LOCK = 0x43414D52  # any number that no other program on the server uses

_PACKAGED = Path(__file__).parent.parent / "migrations"
_CHECKOUT = Path(__file__).parent.parent.parent / "migrations"


def upgrade(store: Store) -> None:
    """Bring the database to this program's schema, from whatever older one it has."""
    config = _config()
    with store.engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            # Programs that start at once upgrade in turn, as SQLite's own lock has them do.
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def ensure(store: Store) -> None:
    """Make the schema in an empty database. Raises SchemaMismatch for one that is not ours."""
    with store.reading() as session:
        connection = session.connection()
        current = MigrationContext.configure(connection).get_current_revision()
        empty = not inspect(connection).get_table_names()
    if empty:
        upgrade(store)
        return
    script = ScriptDirectory.from_config(_config())
    if current == script.get_current_head():
        return
    if current is None:
        raise SchemaMismatch("The database has tables, but none of Camreel's.")
    known = {revision.revision for revision in script.walk_revisions()}
    if current in known:
        raise SchemaMismatch(
            "The database has an older schema than this program. "
            "Make a copy of it, then run: camreel db upgrade"
        )
    raise SchemaMismatch(
        "The database has a newer schema than this program. Install the version of Camreel that "
        "wrote it, or a later one; camreel db upgrade of that version migrates."
    )


def _config() -> Config:
    config = Config()
    folder = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    config.set_main_option("script_location", str(folder))
    return config
