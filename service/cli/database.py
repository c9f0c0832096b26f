"""The schema of the database, and of the API."""

import json
from pathlib import Path

from service.app import create_app
from service.cli.terminal import print_line
from service.files import check_output, write_file
from service.settings import Settings
from service.store import schema
from service.store.store import open_store


def upgrade(settings: Settings) -> None:
    """Bring the database to this version's schema."""
    with open_store(settings.database, settings.blobs) as store:
        schema.upgrade(store)
    print_line("The database has this version's schema.")


def write_openapi(out: Path) -> None:
    """Write the API's schema as it is served."""
    check_output(out)
    text = json.dumps(create_app(Settings()).openapi(), indent=2, ensure_ascii=False)
    write_file(out, f"{text}\n".encode())
