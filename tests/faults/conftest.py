"""Stores on SQLite and PostgreSQL, as the store's own tests have them."""

from tests.store.conftest import (  # noqa: F401
    database_url,
    empty_postgres,
    migrated_postgres,
    migrated_sqlite,
    postgres_database,
    store,
)
from tests.uploads.conftest import application  # noqa: F401
