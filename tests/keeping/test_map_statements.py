"""SQL statements per heatmap: none if it is cached and nothing was committed since; otherwise one
read transaction, and one write if the heatmap was not recorded.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from sqlalchemy import event

from service.flows.maps import record
from service.store import audit
from service.store.store import Store

NEW_MAP = "/runs/1/epochs/2/cam?method=layer-cam&image=test:40"
PROBE = "/runs/1/epochs/2/cam"


@dataclass
class Statements:
    """SQL statements by transaction; the first of each is its BEGIN."""

    transactions: list[list[str]] = field(default_factory=list)

    @property
    def map_transactions(self) -> list[list[str]]:
        """Without queries of credentials, which are cached for a second."""
        return [
            transaction
            for transaction in self.transactions
            if not any("tokens" in statement for statement in transaction)
        ]

    @property
    def reads(self) -> int:
        return sum(transaction[0] == "BEGIN" for transaction in self.map_transactions)

    @property
    def writes(self) -> int:
        return sum(transaction[0] == "BEGIN IMMEDIATE" for transaction in self.map_transactions)

    @property
    def selects(self) -> int:
        statements = [
            statement for transaction in self.map_transactions for statement in transaction
        ]
        return sum(statement.startswith("SELECT") for statement in statements)


@contextmanager
def record_statements(store: Store) -> Iterator[Statements]:
    """Records the statements of all threads within the block."""
    statements = Statements()

    def record(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith("BEGIN"):
            statements.transactions.append([])
        statements.transactions[-1].append(statement)

    event.listen(store.engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        event.remove(store.engine, "before_cursor_execute", record)


@pytest.fixture
def client(state_folder, monkeypatch):
    monkeypatch.setattr(record, "BATCH_DELAY_SECONDS", 60)  # rows are stored by `flush` alone
    # Without background tasks, only the requests execute SQL.
    with state_folder.client() as client:
        services = client.app.state.services
        services.background.request_stop()
        services.background.join()
        services.pipeline.prefetcher.close()
        client.get("/runs/1/epochs/1/cam?image=test:39")  # loads the dataset
        services.pipeline.recorder.flush()
        yield client


@pytest.mark.parametrize("url", [PROBE, NEW_MAP])
def test_uncached_map_needs_one_read_and_one_write_transaction(client, blob_type, url) -> None:
    services = client.app.state.services
    with record_statements(services.store) as statements:
        assert client.get(url).status_code == 200
        services.pipeline.recorder.flush()
    # Loading a checkpoint from the database is another read, once per network.
    assert statements.reads == (2 if blob_type == "sql" else 1)
    assert statements.writes == 1


@pytest.mark.parametrize("url", [PROBE, NEW_MAP])
def test_uncached_map_of_a_cached_network_needs_one_read(client, url) -> None:
    services = client.app.state.services
    assert client.get("/runs/1/epochs/2/cam?image=test:41").status_code == 200
    services.pipeline.recorder.flush()
    with record_statements(services.store) as statements:
        assert client.get(url).status_code == 200
        services.pipeline.recorder.flush()
    assert (statements.reads, statements.writes) == (1, 1)


@pytest.mark.parametrize("url", [PROBE, NEW_MAP])
def test_cached_map_and_304_need_one_read_of_two_statements_after_a_commit(client, url) -> None:
    services = client.app.state.services
    etag = client.get(url).headers["etag"]
    for headers, status in (({}, 200), ({"If-None-Match": etag}, 304)):
        services.pipeline.recorder.flush()
        with services.store.write_session() as session:
            audit.record(session, "another process", "token create", "token 9", "done")
        with record_statements(services.store) as statements:
            assert client.get(url, headers=headers).status_code == status
            services.pipeline.recorder.flush()
        assert (statements.reads, statements.writes, statements.selects) == (1, 0, 2), status


@pytest.mark.parametrize("url", [PROBE, NEW_MAP])
def test_cached_map_and_304_need_no_statement_without_a_commit(client, url) -> None:
    services = client.app.state.services
    etag = client.get(url).headers["etag"]
    services.pipeline.recorder.flush()
    client.get(url)
    with record_statements(services.store) as statements:
        assert client.get(url).status_code == 200
        assert client.get(url, headers={"If-None-Match": etag}).status_code == 304
    assert statements.map_transactions == []


def test_new_images_need_no_read_while_nothing_is_committed(client) -> None:
    services = client.app.state.services
    assert client.get("/runs/1/epochs/2/cam?image=test:41").status_code == 200
    services.pipeline.recorder.flush()
    assert client.get("/runs/1/epochs/2/cam?image=test:42").status_code == 200  # reads after it
    with record_statements(services.store) as statements:
        for index in (43, 44, 45):
            assert client.get(f"/runs/1/epochs/2/cam?image=test:{index}").status_code == 200
        reads = statements.reads
        services.pipeline.recorder.flush()
    assert (reads, statements.writes) == (0, 1)


def test_quarantine_and_deletion_by_another_process_hold_at_once(client, state_folder) -> None:
    url = "/runs/1/epochs/2/cam?image=test:{}"
    assert client.get(url.format(41)).status_code == 200
    client.app.state.services.pipeline.recorder.flush()
    assert client.get(url.format(42)).status_code == 200
    state_folder.execute(
        "UPDATE checkpoints SET quarantined = 'corrupt' WHERE run_id = 1 AND epoch = 2"
    )
    assert client.get(url.format(43)).json()["type"].endswith("epoch-quarantined")
    state_folder.execute("UPDATE checkpoints SET quarantined = NULL")
    assert client.get(url.format(44)).status_code == 200
    state_folder.execute("UPDATE runs SET status = 'deleting' WHERE id = 1")
    assert client.get(url.format(45)).status_code == 404


def test_stored_image_has_precedence_over_the_datasets(client, state_folder) -> None:
    """The data folder may hold another dataset than the one that the run was trained on."""
    url = "/runs/1/epochs/2/cam?style=overlay&image=test:{}"
    of_dataset = client.get(url.format(46)).content
    (png,) = state_folder.execute("SELECT png FROM images WHERE reference = 'test:0'")[0]
    state_folder.execute(
        "INSERT INTO images (dataset, reference, label, png) VALUES ('digits', 'test:46', 0, :png)",
        png=png,
    )
    stored = client.get(url.format(46)).content
    assert stored != of_dataset
    assert stored == client.get(url.format(0) + "&class=0").content
