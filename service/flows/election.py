"""Election of the process that dispatches runs, among all servers of one database."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from service.flows.heartbeats import HeartbeatMonitor
from service.flows.server_names import is_dead
from service.jobs import Executor, Task
from service.store import leaders, run_lifecycle
from service.store.leaders import DISPATCH, Leader
from service.store.store import Store

CAMPAIGN_SECONDS = 0.25
"""Interval of `Election.campaign`: within it another process takes over from one that has ended."""

HEARTBEATS_PER_LEASE = 3

log = structlog.get_logger()


class Election:
    """The candidacy of one process. `campaign` is called periodically, from one thread.

    A leader renews its lease in the database. It counts as elected only until its lease ends by its
    own monotonic clock, counted from before the renewal; others count from after they have read the
    renewal. So two are never elected at once, even if a leader was stopped and continues.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        lease_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` is the process's, from `server_names.py`; `clock` returns monotonic seconds."""
        self.name = name
        self._store = store
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._heartbeats: HeartbeatMonitor[str, Leader] = HeartbeatMonitor()
        self._holds_role = False
        self._has_resigned = False
        self._elected_until = float("-inf")
        self._renew_at = float("-inf")

    @property
    def is_leader(self) -> bool:
        """Whether this process is elected now."""
        return self._holds_role and self._clock() < self._elected_until

    @property
    def holds_role(self) -> bool:
        """Whether no other process is known to be elected since this one was.

        Unlike `is_leader` also True while the database is unavailable for longer than a lease.
        """
        return self._holds_role

    @property
    def leader_name(self) -> str | None:
        """The name of this process if it is elected, else None."""
        return self.name if self.is_leader else None

    def campaign(self) -> bool:
        """Renew the lease if it is due, or become the leader if there is none; `is_leader`.

        Raises StoreUnavailable and StoreFull.
        """
        if self._has_resigned:
            return False
        if not self._holds_role:
            self._run_for_leader()
        elif self._clock() >= self._renew_at:
            self._renew()
        return self.is_leader

    def resign(self) -> None:
        """Let another process be elected at once, and be no candidate any more.

        Raises StoreUnavailable and StoreFull.
        """
        self._has_resigned = True
        if not self._holds_role:
            return
        self._holds_role = False
        with self._store.write_session() as session:
            if leaders.resign(session, DISPATCH, self.name):
                run_lifecycle.unassign_queued(session, self.name)

    def _run_for_leader(self) -> None:
        with self._store.read_session() as session:
            leader = leaders.get(session, DISPATCH)
        if leader is not None and not self._has_ended(leader):
            return
        start_seconds = self._clock()
        with self._store.write_session() as session:
            if not leaders.elect(session, DISPATCH, self.name, leader):
                return
            if leader is not None and leader.owner is not None:
                run_lifecycle.unassign_queued(session, leader.owner)
        self._set_elected(start_seconds)

    def _has_ended(self, leader: Leader) -> bool:
        # After the row was read: a lease that was renewed before is counted from no earlier.
        now_seconds = self._clock()
        self._heartbeats.observe({DISPATCH: leader}, now_seconds)
        return (
            leader.owner is None
            or is_dead(leader.owner)
            or bool(self._heartbeats.stopped_heartbeats(now_seconds, self._lease_seconds))
        )

    def _renew(self) -> None:
        start_seconds = self._clock()
        with self._store.write_session() as session:
            is_renewed = leaders.renew(session, DISPATCH, self.name)
            if is_renewed and start_seconds >= self._elected_until:
                # Tasks that came to their turn meanwhile were dropped.
                run_lifecycle.unassign_queued(session, self.name)
        if is_renewed:
            self._set_elected(start_seconds)
            return
        self._holds_role = False
        self._heartbeats = HeartbeatMonitor()
        log.warning("leadership lost", server=self.name)

    def _set_elected(self, start_seconds: float) -> None:
        self._elected_until = start_seconds + self._lease_seconds
        self._renew_at = start_seconds + self._lease_seconds / HEARTBEATS_PER_LEASE
        self._holds_role = True


class ElectedExecutor:
    """A server's executor, which starts tasks only while this process is elected.

    In other processes `submit` does nothing: the elected one finds the queued run in the database.
    """

    def __init__(self, executor: Executor, election: Election) -> None:
        self._executor = executor
        self._election = election

    def submit(self, task: Task) -> None:
        """Queue a task, if this process is elected. Raises RuntimeError if closed."""
        if self._election.is_leader:
            self._executor.submit(
                replace(task, should_start=lambda: self._election.is_leader and task.should_start())
            )

    def accepts_tasks(self) -> bool:
        """Whether the executor is not closed."""
        return self._executor.accepts_tasks()

    def devices(self) -> Sequence[str]:
        """Devices of this process, as of every other server."""
        return self._executor.devices()

    def has_task(self, name: str) -> bool:
        """Whether a task of that name is queued or running in this process."""
        return self._executor.has_task(name)

    def has_started(self, name: str) -> bool:
        """Whether a task of that name has left the queue here, and has not ended."""
        return self._executor.has_started(name)

    def kill(self, name: str) -> None:
        """Kill running tasks of that name in this process."""
        self._executor.kill(name)

    def close(self) -> None:
        """End running tasks within seconds, and accept no more."""
        self._executor.close()

    def abort(self) -> None:
        """Kill running tasks without waiting."""
        self._executor.abort()
