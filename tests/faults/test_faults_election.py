"""One process of a database is elected to dispatch runs; two never are at once."""

import random
import subprocess
import threading
from collections.abc import Callable

import pytest

from service.flows.election import ElectedExecutor, Election
from service.flows.server_names import server_name
from service.jobs import Task
from service.store import leaders, runs
from service.store.leaders import DISPATCH, Leader
from service.store.store import Store
from tests.idle_executor import IdleExecutor

LEASE_SECONDS = 30.0


class Clock:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def new_candidate(store: Store, clock: Clock) -> Callable[[str], Election]:
    return lambda name: Election(store, name, LEASE_SECONDS, clock)


def dead_server_name() -> str:
    """The name of a process of this machine that has ended."""
    machine, _, _, unique = server_name().split(":")
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    return f"{machine}:{process.pid}:1:{unique}"


def dispatchers(store: Store) -> list[str | None]:
    with store.read_session() as session:
        return [run.dispatcher for run in runs.list_queue(session)]


def queue_run(store: Store, dispatcher: str) -> None:
    with store.write_session() as session:
        runs.create(session, "", [], {"epochs": 1}, 1, dispatcher)


def test_first_candidate_is_elected_and_stays_so_while_it_renews(new_candidate, clock) -> None:
    first, second = new_candidate("first"), new_candidate("second")
    assert first.campaign()
    assert first.leader_name == "first"
    for _ in range(20):
        clock.seconds += LEASE_SECONDS / 4
        assert first.campaign()
        assert not second.campaign()
        assert second.leader_name is None


@pytest.mark.parametrize("previous", [None, Leader(None, 3), Leader("ended", 5)])
def test_of_two_candidates_that_saw_the_same_leader_one_is_elected(
    store: Store, previous: Leader | None
) -> None:
    if previous is not None:
        with store.write_session() as session:
            session.add(leaders.LeaderRow(role=DISPATCH, **vars(previous)))
    results = []
    for name in ("first", "second"):
        with store.write_session() as session:
            results.append(leaders.elect(session, DISPATCH, name, previous))
    assert results == [True, False]
    with store.read_session() as session:
        leader = leaders.get(session, DISPATCH)
    assert leader is not None
    assert leader.owner == "first"


def test_of_concurrent_candidates_one_is_elected(new_candidate) -> None:
    candidates = [new_candidate(f"candidate {i}") for i in range(6)]
    barrier = threading.Barrier(len(candidates))

    def campaign(candidate: Election) -> None:
        barrier.wait()
        candidate.campaign()

    threads = [threading.Thread(target=campaign, args=(candidate,)) for candidate in candidates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(candidate.is_leader for candidate in candidates) == 1


def test_stopped_leader_is_replaced_after_its_lease_and_finds_out(new_candidate, clock) -> None:
    stopped_leader, other_candidate = new_candidate("stopped"), new_candidate("other")
    assert stopped_leader.campaign()
    assert not other_candidate.campaign()
    clock.seconds += LEASE_SECONDS
    # By its clock alone: it has not read the database since.
    assert not stopped_leader.is_leader
    assert stopped_leader.holds_role
    assert not other_candidate.campaign()
    clock.seconds += 1
    assert other_candidate.campaign()
    assert not stopped_leader.campaign()
    assert not stopped_leader.holds_role
    # It is a candidate again.
    other_candidate.resign()
    assert stopped_leader.campaign()


def test_leader_whose_renewal_is_late_stays_elected_without_a_successor(
    store: Store, new_candidate, clock
) -> None:
    leader = new_candidate("late")
    assert leader.campaign()
    queue_run(store, "late")
    clock.seconds += 10 * LEASE_SECONDS
    assert not leader.is_leader
    assert leader.campaign()
    # Its tasks were not started meanwhile: the queue is scanned for them.
    assert dispatchers(store) == [None]


def test_dead_process_of_this_machine_is_replaced_at_once(store: Store, new_candidate) -> None:
    dead_leader = new_candidate(dead_server_name())
    assert dead_leader.campaign()
    queue_run(store, dead_leader.name)
    queue_run(store, "a command")
    assert new_candidate("other").campaign()
    assert dispatchers(store) == [None, "a command"]


def test_leader_that_resigns_is_replaced_at_once(store: Store, new_candidate) -> None:
    leader, other_candidate = new_candidate("leader"), new_candidate("other")
    assert leader.campaign()
    queue_run(store, "leader")
    assert not other_candidate.campaign()
    leader.resign()
    assert not leader.is_leader
    assert dispatchers(store) == [None]
    # Even if a thread of it is still running.
    assert not leader.campaign()
    assert other_candidate.campaign()
    other_candidate.resign()
    assert not leader.campaign()


def test_candidate_that_resigns_changes_nothing(new_candidate) -> None:
    leader, other_candidate = new_candidate("leader"), new_candidate("other")
    assert leader.campaign()
    other_candidate.resign()
    assert leader.campaign()


@pytest.mark.parametrize("seed", range(3))
def test_two_are_never_elected_at_once(new_candidate, clock, seed: int) -> None:
    rng = random.Random(seed)
    candidates = [new_candidate(f"candidate {i}") for i in range(3)]
    leaders_seen = set()
    for _ in range(150):
        # Of any length: a candidate that is not drawn is stopped meanwhile.
        clock.seconds += rng.choice([0.1, LEASE_SECONDS / 3, LEASE_SECONDS, 2 * LEASE_SECONDS])
        rng.choice(candidates).campaign()
        elected = [candidate.name for candidate in candidates if candidate.is_leader]
        assert len(elected) <= 1
        leaders_seen.update(elected)
    assert len(leaders_seen) > 1


def test_only_the_elected_process_starts_tasks(new_candidate, clock) -> None:
    leader, other_candidate = new_candidate("leader"), new_candidate("other")
    assert leader.campaign()
    assert not other_candidate.campaign()
    executor, ignored = IdleExecutor(), IdleExecutor()
    task = Task(print, (), print, "run-1")
    ElectedExecutor(executor, leader).submit(task)
    ElectedExecutor(ignored, other_candidate).submit(task)
    assert ignored.tasks == []
    (queued,) = executor.tasks
    assert queued.should_start()
    clock.seconds += LEASE_SECONDS
    assert not queued.should_start()
