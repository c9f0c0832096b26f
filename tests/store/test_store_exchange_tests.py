"""Exchange tests: stored once per epoch, replaced by complete ones, listed without their maps."""

import numpy as np
import pytest

from service.store import exchange_tests
from service.store.exchange_tests import StoredExchangeTest
from service.store_errors import StatementRefused


@pytest.fixture
def run(new_run, add_epoch):
    created = new_run()
    for epoch in range(3):
        add_epoch(created, epoch)
    return created


def test_tests_are_stored_once_and_replaced_by_complete_ones(store, run):
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    interim = StoredExchangeTest(run.id, 1, {"results": [1]})
    complete = StoredExchangeTest(run.id, 1, {"results": [1, 2]}, values)
    with store.write_session() as session:
        exchange_tests.add_missing(session, interim)
        exchange_tests.add_missing(session, complete)
        assert exchange_tests.get(session, run.id, 1) == interim
        exchange_tests.replace(session, complete)
        exchange_tests.replace(session, StoredExchangeTest(run.id, 0, {}))
    with store.read_session() as session:
        stored_test = exchange_tests.get(session, run.id, 1)
        assert stored_test == complete
        np.testing.assert_array_equal(stored_test.exchange_map, values)
        assert exchange_tests.get(session, run.id, 2) is None
        assert [t.epoch for t in exchange_tests.list_for_run(session, run.id)] == [0, 1]


def test_exchange_test_requires_its_epoch(store, run):
    with pytest.raises(StatementRefused), store.write_session() as session:
        exchange_tests.add_missing(session, StoredExchangeTest(run.id, 9, {}))
