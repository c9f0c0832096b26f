"""Migration of the database."""

from service.cli.terminal import print_line
from service.settings import Settings
from service.store import schema
from service.store.store import open_store


def upgrade(settings: Settings) -> None:
    """Migrate the database to the schema of this version."""
    with open_store(settings.database, settings.blobs) as store:
        schema.upgrade(store)
    print_line("The database has the schema of this version.")
