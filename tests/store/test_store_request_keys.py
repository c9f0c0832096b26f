"""Idempotency keys and the limit of the queue hold for simultaneous requests.

On SQLite and, if a server is configured, on PostgreSQL.
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
REQUEST_KEY = RequestKey("key", "a" * 64)


Start = Callable[..., Any]


@pytest.fixture
def executor() -> IdleExecutor:
    return IdleExecutor()


@pytest.fixture
def start(store: Store, executor: IdleExecutor) -> Start:
    def begin(key: RequestKey | None = None, queue_limit: int | None = None) -> Any:
        workspace = Workspace("nowhere", "sql", Path("nowhere"))
        return run_flows.start_run_once(store, executor, workspace, SPEC, queue_limit, key)

    return begin


def run_concurrently(count: int, act: Callable[[int], Any]) -> list[Any]:
    """Calls `act` in threads that start together; returns their results and errors."""
    barrier = Barrier(count)

    def call(number: int) -> Any:
        barrier.wait()
        try:
            return act(number)
        except (KeyReused, QueueFull) as error:
            return error

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(call, range(count)))


def count(store: Store, table: str) -> int:
    with store.read_session() as session:
        return int(session.scalar(text(f"SELECT count(*) FROM {table}")) or 0)


def test_repeated_key_returns_the_same_run(
    store: Store, start: Start, executor: IdleExecutor
) -> None:
    (first, replayed), (second, second_replayed) = start(REQUEST_KEY), start(REQUEST_KEY)
    assert (first.id, replayed, second_replayed) == (second.id, False, True)
    assert count(store, "runs") == len(executor.tasks) == 1


def test_twenty_simultaneous_requests_with_one_key_create_one_run(
    store: Store, start: Start, executor: IdleExecutor
) -> None:
    results = run_concurrently(20, lambda _: start(REQUEST_KEY))
    assert len({run.id for run, _ in results}) == 1
    assert sorted(replayed for _, replayed in results) == [False] + [True] * 19
    assert count(store, "runs") == count(store, "request_keys") == len(executor.tasks) == 1


def test_another_body_with_the_same_key_is_refused(store: Store, start: Start) -> None:
    start(REQUEST_KEY)
    with pytest.raises(KeyReused):
        start(RequestKey(REQUEST_KEY.key, "b" * 64))
    assert count(store, "runs") == 1


def test_one_of_two_simultaneous_bodies_with_one_key_is_accepted(
    store: Store, start: Start
) -> None:
    results = run_concurrently(10, lambda number: start(RequestKey("key", "ab"[number % 2] * 64)))
    assert sum(isinstance(result, KeyReused) for result in results) == 5
    assert count(store, "runs") == 1


def test_different_keys_and_no_key_create_different_runs(store: Store, start: Start) -> None:
    run_concurrently(
        6, lambda number: start(RequestKey(f"key {number}", "a" * 64) if number % 2 else None)
    )
    assert count(store, "runs") == 6
    assert count(store, "request_keys") == 3


def test_key_expires_after_a_day(store: Store, start: Start) -> None:
    start(REQUEST_KEY)
    expired_at = datetime.now(UTC) - timedelta(hours=24, seconds=1)
    with store.write_session() as session:
        session.execute(
            text("UPDATE request_keys SET created_at = :moment"), {"moment": expired_at}
        )
    _, replayed = start(RequestKey(REQUEST_KEY.key, "b" * 64))
    assert not replayed
    assert (count(store, "runs"), count(store, "request_keys")) == (2, 1)


def test_expired_keys_are_removed_in_batches_and_the_requested_one_at_once(
    store: Store, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_keys, "DELETE_BATCH", 2)
    for number in range(7):
        start(RequestKey(f"{number:064}", "a" * 64))
    expired_at = datetime.now(UTC) - timedelta(hours=24, seconds=1)
    with store.write_session() as session:
        session.execute(
            text("UPDATE request_keys SET created_at = :moment"), {"moment": expired_at}
        )
    _, replayed = start(RequestKey(f"{6:064}", "b" * 64))
    assert not replayed
    assert count(store, "request_keys") == 7 - 2  # without two others; its own is replaced
    for _ in range(2):
        start(RequestKey(f"{6:064}", "b" * 64))
    assert count(store, "request_keys") == 1


def test_key_of_a_deleted_run_creates_no_other_run(store: Store, start: Start) -> None:
    run, _ = start(REQUEST_KEY)
    deletion.delete_run(store, run.id)
    with pytest.raises(RunNotFound):
        start(REQUEST_KEY)
    with store.read_session() as session:
        assert runs.list_newest(session, limit=10) == []


def test_failed_request_does_not_store_its_key(store: Store, start: Start) -> None:
    start()
    with pytest.raises(QueueFull):
        start(REQUEST_KEY, queue_limit=1)
    assert count(store, "request_keys") == 0
    _, replayed = start(REQUEST_KEY, queue_limit=2)
    assert not replayed


def test_repeated_key_succeeds_while_the_queue_is_full(start: Start) -> None:
    first, _ = start(REQUEST_KEY, queue_limit=1)
    second, replayed = start(REQUEST_KEY, queue_limit=1)
    assert (second.id, replayed) == (first.id, True)


def test_simultaneous_requests_do_not_exceed_the_queue_limit(
    store: Store, start: Start, executor: IdleExecutor
) -> None:
    results = run_concurrently(20, lambda _: start(queue_limit=7))
    assert sum(isinstance(result, QueueFull) for result in results) == 13
    assert count(store, "runs") == len(executor.tasks) == 7


def test_full_queue_accepts_a_run_after_one_leaves(store: Store, start: Start) -> None:
    run, _ = start(queue_limit=1)
    with pytest.raises(QueueFull, match="limit: 1"):
        start(queue_limit=1)
    with store.write_session() as session:
        run_lifecycle.claim(session, run.id)
    start(queue_limit=1)


def test_resumed_runs_count_against_the_queue_limit(store: Store, start: Start) -> None:
    cancelled_runs = [start()[0] for _ in range(6)]
    for run in cancelled_runs:
        run_flows.cancel_run(store, run.id)
    start(queue_limit=3)
    results = run_concurrently(
        6, lambda number: run_flows.extend_run(store, cancelled_runs[number].id, None, 3)
    )
    assert sum(isinstance(result, QueueFull) for result in results) == 4
    with store.read_session() as session:
        assert len(runs.list_by_status(session, RunStatus.QUEUED)) == 3
