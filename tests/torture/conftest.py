"""The store of a test: its own database, with blobs in it or in files."""

from pathlib import Path

import pytest


@pytest.fixture
def store_location(
    request: pytest.FixtureRequest, database: str, blobs: str, tmp_path: Path
) -> tuple[str, str]:
    """URL of the database (`sqlite` or `postgresql`) and setting of blobs (`sql` or `file`)."""
    blobs = f"file:{tmp_path / 'blobs'}" if blobs == "file" else blobs
    if database == "sqlite":
        return f"sqlite:///{tmp_path / 'camreel.db'}", blobs
    return request.getfixturevalue("postgres_url"), blobs
