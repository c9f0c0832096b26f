"""An empty store, and the workspace of its runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.flows.workspace import Workspace
from service.store import schema
from service.store.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path / 'camreel.db'}") as opened_store:
        schema.ensure(opened_store)
        yield opened_store


@pytest.fixture
def workspace(store: Store, tmp_path: Path) -> Workspace:
    return Workspace(str(store.engine.url), "sql", tmp_path)
