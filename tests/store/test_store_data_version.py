"""Values kept until the next commit, and transactions that begin when they are needed."""

import sqlite3
from pathlib import Path

from service.store import audit, schema
from service.store.data_version import ReadCache
from service.store.store import Store, open_store


def append_count(values: list[int]) -> int:
    """Append the number of values with it, and return it."""
    values.append(len(values) + 1)
    return values[-1]


def test_value_is_read_again_after_a_commit_of_any_process(tmp_path: Path) -> None:
    file = tmp_path / "camreel.db"
    with open_store(file) as store:
        schema.ensure(store)
        cache: ReadCache[int] = ReadCache(10)
        reads: list[int] = []

        def read() -> int:
            return cache.get_or_read(store.read_version(), "key", lambda: append_count(reads))

        assert [read(), read()] == [1, 1]
        with store.write_session() as session:
            audit.record(session, "user", "token create", "token 1", "done")
        assert [read(), read()] == [2, 2]
        with sqlite3.connect(file) as other_process:
            other_process.execute("DELETE FROM audit")
        other_process.close()
        assert [read(), read()] == [3, 3]


def test_commit_during_a_read_makes_its_value_outdated() -> None:
    cache: ReadCache[str] = ReadCache(10)
    assert cache.get_or_read((0, 1), "key", lambda: "before the commit") == "before the commit"
    assert cache.get_or_read((0, 2), "key", lambda: "after it") == "after it"
    assert cache.get_or_read((0, 2), "key", lambda: "never") == "after it"


def test_nothing_is_kept_without_a_version() -> None:
    cache: ReadCache[int] = ReadCache(10)
    reads: list[int] = []
    assert [cache.get_or_read(None, "key", lambda: append_count(reads)) for _ in range(2)] == [1, 2]


def test_number_of_values_is_bounded() -> None:
    cache: ReadCache[int] = ReadCache(2)
    reads: list[int] = []
    for key in ("a", "b", "c", "a"):
        cache.get_or_read((0, 1), key, lambda: append_count(reads))
    assert reads == [1, 2, 3, 4]


def test_lazy_transaction_begins_at_its_first_use(store: Store) -> None:
    with store.lazy_read_session():
        assert store.engine.pool.status().endswith("Current Checked out connections: 0")
    with store.lazy_read_session() as session:
        assert session() is session()
        assert session().in_transaction()
        kept = session()
    assert not kept.in_transaction()
