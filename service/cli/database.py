"""Preparation of the database: its migration, and what a server needs before it listens."""

from pathlib import Path

from service.cli.terminal import print_line
from service.errors import FileRefused, InvalidValue
from service.files import read_file
from service.flows import access
from service.settings import Settings
from service.store import schema
from service.store.store import open_store

MAX_TOKEN_BYTES = 4096


def upgrade(settings: Settings) -> None:
    """Migrate the database to the schema of this version."""
    with open_store(settings.database, settings.blobs) as store:
        schema.upgrade(store)
    print_line("The database has the schema of this version.")


def prepare_database(settings: Settings) -> None:
    """Create the schema and bootstrap token; check access, before uvicorn would log a traceback.

    Raises SchemaMismatch, and InvalidValue for an address that is not loopback without a token.
    """
    with open_store(settings.database, settings.blobs) as store:
        schema.ensure(store)
        if settings.bootstrap_token_file is not None:
            access.bootstrap(store, _read_bootstrap_token(settings.bootstrap_token_file))
        access.require_token_beyond_loopback(store, settings.host)


def _read_bootstrap_token(file: Path) -> str:
    try:
        return read_file(file, MAX_TOKEN_BYTES).decode().strip()
    except (FileRefused, UnicodeDecodeError) as error:
        raise InvalidValue("bootstrap_token_file", "is missing or cannot be read") from error
