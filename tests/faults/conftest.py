"""Fixtures of the tests of the store and of uploads."""

from tests.store.conftest import (  # noqa: F401
    database_url,
    empty_postgres,
    migrated_postgres,
    migrated_sqlite,
    postgres_database,
    store,
)
from tests.uploads.conftest import new_application  # noqa: F401
