"""SQL that a heatmap costs: one read transaction, and one write for a map not recorded before."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from sqlalchemy import event

from service.store.store import Store

NEW_MAP = "/runs/1/epochs/2/cam?method=layer-cam&image=test:40"
PROBE = "/runs/1/epochs/2/cam"


@dataclass
class Statements:
    """SQL statements by transaction; the first of each is its BEGIN."""

    transactions: list[list[str]] = field(default_factory=list)

    @property
    def of_maps(self) -> list[list[str]]:
        """Without the look-ups of credentials, which are cached for a second."""
        return [
            transaction
            for transaction in self.transactions
            if not any("tokens" in statement for statement in transaction)
        ]

    @property
    def reads(self) -> int:
        return sum(transaction[0] == "BEGIN" for transaction in self.of_maps)

    @property
    def writes(self) -> int:
        return sum(transaction[0] == "BEGIN IMMEDIATE" for transaction in self.of_maps)

    @property
    def selects(self) -> int:
        statements = [statement for transaction in self.of_maps for statement in transaction]
        return sum(statement.startswith("SELECT") for statement in statements)


@contextmanager
def recorded(store: Store) -> Iterator[Statements]:
    """The statements of all threads, while the block runs."""
    statements = Statements()

    def note(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith("BEGIN"):
            statements.transactions.append([])
        statements.transactions[-1].append(statement)

    event.listen(store.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(store.engine, "before_cursor_execute", note)


@pytest.fixture
def served(state_folder):
    # Without credentials to look up and without background tasks that query: only the map's SQL.
    with state_folder.client() as client:
        services = client.app.state.services
        services.background.request_stop()
        services.background.join()
        client.get("/runs/1/epochs/1/cam?image=test:39")  # the dataset is loaded
        services.pipeline.recorder.flush()
        yield client


@pytest.mark.parametrize("url", [PROBE, NEW_MAP])
def test_a_cold_map_takes_one_read_and_one_write_transaction(served, blob_type, url) -> None:
    services = served.app.state.services
    with recorded(services.store) as statements:
        assert served.get(url).status_code == 200
        services.pipeline.recorder.flush()
    # A checkpoint in the database is another read, once for each network.
    assert statements.reads == (2 if blob_type == "sql" else 1)
    assert statements.writes == 1


@pytest.mark.parametrize("url", [PROBE, NEW_MAP])
def test_a_cold_map_of_a_cached_network_takes_one_read(served, url) -> None:
    services = served.app.state.services
    assert served.get("/runs/1/epochs/2/cam?image=test:41").status_code == 200
    services.pipeline.recorder.flush()
    with recorded(services.store) as statements:
        assert served.get(url).status_code == 200
        services.pipeline.recorder.flush()
    assert (statements.reads, statements.writes) == (1, 1)


@pytest.mark.parametrize("url", [PROBE, NEW_MAP])
def test_a_cached_map_and_a_304_take_one_read_of_two_statements(served, url) -> None:
    services = served.app.state.services
    etag = served.get(url).headers["etag"]
    services.pipeline.recorder.flush()
    for headers, status in (({}, 200), ({"If-None-Match": etag}, 304)):
        with recorded(services.store) as statements:
            assert served.get(url, headers=headers).status_code == status
            services.pipeline.recorder.flush()
        assert (statements.reads, statements.writes, statements.selects) == (1, 0, 2), status
