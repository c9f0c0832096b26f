"""A request that names itself is done once, and a queue has a bound: however many come at a time.

On SQLite and, where a server is named, on PostgreSQL.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import text

from service.core.spec import RunSpec
from service.errors import KeyReused, QueueFull, RunNotFound
from service.flows import deletion
from service.flows import runs as run_flows
from service.flows.workspace import Workspace
from service.store import request_keys, run_lifecycle, runs
from service.store.request_keys import RequestKey
from service.store.run_status import RunStatus
from service.store.store import Store
from tests.idle_executor import IdleExecutor

SPEC = RunSpec(dataset="digits", epochs=1)
ASKED = RequestKey("key", "a" * 64)


Start = Callable[..., Any]


@pytest.fixture
def executor() -> IdleExecutor:
    return IdleExecutor()


@pytest.fixture
def start(store: Store, executor: IdleExecutor) -> Start:
    def begin(asked: RequestKey | None = None, most: int | None = None) -> Any:
        workspace = Workspace("nowhere", "sql", Path("nowhere"))
        return run_flows.start_run_once(store, executor, workspace, SPEC, most, asked)

    return begin


def at_once(count: int, act: Callable[[int], Any]) -> list[Any]:
    """What `act` returned or raised, of threads that begin together."""
    together = Barrier(count)

    def one(number: int) -> Any:
        together.wait()
        try:
            return act(number)
        except (KeyReused, QueueFull) as error:
            return error

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


def count(store: Store, table: str) -> int:
    with store.read_session() as session:
        return int(session.scalar(text(f"SELECT count(*) FROM {table}")) or 0)


def test_a_key_again_is_the_same_run(store: Store, start: Start, executor: IdleExecutor) -> None:
    (first, replayed), (second, again) = start(ASKED), start(ASKED)
    assert (first.id, replayed, again) == (second.id, False, True)
    assert count(store, "runs") == len(executor.jobs) == 1


def test_twenty_of_one_key_at_once_are_one_run(
    store: Store, start: Start, executor: IdleExecutor
) -> None:
    found = at_once(20, lambda _: start(ASKED))
    assert len({run.id for run, _ in found}) == 1
    assert sorted(replayed for _, replayed in found) == [False] + [True] * 19
    assert count(store, "runs") == count(store, "request_keys") == len(executor.jobs) == 1


def test_another_body_under_a_key_is_refused(store: Store, start: Start) -> None:
    start(ASKED)
    with pytest.raises(KeyReused):
        start(RequestKey(ASKED.key, "b" * 64))
    assert count(store, "runs") == 1


def test_of_two_bodies_under_one_key_at_once_one_is_done(store: Store, start: Start) -> None:
    found = at_once(10, lambda number: start(RequestKey("key", "ab"[number % 2] * 64)))
    assert sum(isinstance(one, KeyReused) for one in found) == 5
    assert count(store, "runs") == 1


def test_other_keys_and_none_are_other_runs(store: Store, start: Start) -> None:
    at_once(6, lambda number: start(RequestKey(f"key {number}", "a" * 64) if number % 2 else None))
    assert count(store, "runs") == 6
    assert count(store, "request_keys") == 3


def test_a_key_is_forgotten_after_a_day(store: Store, start: Start) -> None:
    start(ASKED)
    before = datetime.now(UTC) - timedelta(hours=24, seconds=1)
    with store.write_session() as session:
        session.execute(text("UPDATE request_keys SET created_at = :then"), {"then": before})
    _, replayed = start(RequestKey(ASKED.key, "b" * 64))
    assert not replayed
    assert (count(store, "runs"), count(store, "request_keys")) == (2, 1)


def test_expired_keys_are_removed_a_few_at_a_time_and_the_one_that_is_used_at_once(
    store: Store, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_keys, "DELETE_BATCH", 2)
    for number in range(7):
        start(RequestKey(f"{number:064}", "a" * 64))
    then = datetime.now(UTC) - timedelta(hours=24, seconds=1)
    with store.write_session() as session:
        session.execute(text("UPDATE request_keys SET created_at = :then"), {"then": then})
    _, replayed = start(RequestKey(f"{6:064}", "b" * 64))
    assert not replayed
    assert count(store, "request_keys") == 7 - 2  # two others and its own, which is new
    for _ in range(2):
        start(RequestKey(f"{6:064}", "b" * 64))
    assert count(store, "request_keys") == 1


def test_a_key_of_a_deleted_run_starts_no_other(store: Store, start: Start) -> None:
    run, _ = start(ASKED)
    deletion.delete_run(store, run.id)
    with pytest.raises(RunNotFound):
        start(ASKED)
    with store.read_session() as session:
        assert runs.list_newest(session, limit=10) == []


def test_what_failed_is_not_kept_under_its_key(store: Store, start: Start) -> None:
    start()
    with pytest.raises(QueueFull):
        start(ASKED, most=1)
    assert count(store, "request_keys") == 0
    _, replayed = start(ASKED, most=2)
    assert not replayed


def test_a_key_again_needs_no_place_in_a_full_queue(start: Start) -> None:
    first, _ = start(ASKED, most=1)
    second, replayed = start(ASKED, most=1)
    assert (second.id, replayed) == (first.id, True)


def test_twenty_at_once_do_not_pass_the_queues_bound(
    store: Store, start: Start, executor: IdleExecutor
) -> None:
    found = at_once(20, lambda _: start(most=7))
    assert sum(isinstance(one, QueueFull) for one in found) == 13
    assert count(store, "runs") == len(executor.jobs) == 7


def test_a_queue_moves_when_a_run_leaves_it(store: Store, start: Start) -> None:
    run, _ = start(most=1)
    with pytest.raises(QueueFull, match="limit: 1"):
        start(most=1)
    with store.write_session() as session:
        run_lifecycle.claim(session, run.id)
    start(most=1)


def test_runs_that_go_on_wait_in_the_same_queue(store: Store, start: Start) -> None:
    ended = [start()[0] for _ in range(6)]
    for run in ended:
        run_flows.cancel_run(store, run.id)
    start(most=3)
    found = at_once(6, lambda number: run_flows.extend_run(store, ended[number].id, None, 3))
    assert sum(isinstance(one, QueueFull) for one in found) == 4
    with store.read_session() as session:
        assert len(runs.list_by_status(session, RunStatus.QUEUED)) == 3
