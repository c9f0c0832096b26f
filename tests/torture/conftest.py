"""Where the runs of a test are kept: a database of its own, and blobs in it or beside it."""

from pathlib import Path

import pytest


@pytest.fixture
def place(
    request: pytest.FixtureRequest, database: str, blobs: str, tmp_path: Path
) -> tuple[str, str]:
    """The database's URL and the setting of blobs: `sqlite` or `postgresql`, `sql` or `file`."""
    blobs = f"file:{tmp_path / 'blobs'}" if blobs == "file" else blobs
    if database == "sqlite":
        return f"sqlite:///{tmp_path / 'camreel.db'}", blobs
    return request.getfixturevalue("postgres_url"), blobs
