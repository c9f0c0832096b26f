"""Kills a service's worker, the service, or both at random times while runs train."""

import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import httpx

from service.store.store import Store
from tests.conftest import Service
from tests.processes import fork_server_pids, worker_pids
from tests.torture import invariants, processes
from tests.torture.witness import Spec, Witness

START_SECONDS = 4.0
WORKER_SECONDS = 0.5
EPOCH_SECONDS = 1.0
"""Approximate durations of a start, a worker's first epoch and a later one, for random delays."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """Number of kills, the load, and the probability that an attack continues after a kill."""

    kills: int
    specs: list[Spec]
    parallel_runs: int
    active_runs: int  # running or queued
    continuation_probability: float


class KillLoop:
    """Attacks a service; the seed determines targets and delays, not the state that they hit."""

    def __init__(self, service: Service, store: Store, plan: Plan, seed: int) -> None:
        self._service = service
        self._store = store
        self._plan = plan
        self.witness = Witness(service, store)
        self.kills = 0
        self.attack_counts: dict[str, int] = dict.fromkeys(ATTACKS, 0)
        self._rng = random.Random(seed)

    def run(self) -> None:
        """Kill until the planned number is reached, then wait until all runs have ended."""
        while self.kills < self._plan.kills:
            self._keep_busy()
            target = self._rng.choice(list(ATTACKS))
            self._delay(target)
            ATTACKS[target](self)
            self.attack_counts[target] += 1
            self.witness.observe(all_epochs=True)
            self._repeat_request()
            invariants.check(self._store, self._service.state_dir, at_rest=False)
        self.witness.wait(lambda: not self.witness.list_active())

    def _keep_busy(self) -> None:
        self.witness.observe()
        while len(self.witness.list_active()) < self._plan.active_runs:
            self.witness.post(*self._next_request())
            self.witness.observe()

    def _next_request(self) -> tuple[str, Spec]:
        number = len(self.witness.acknowledged)
        return f"run {number}", self._plan.specs[number % len(self._plan.specs)]

    def _repeat_request(self) -> None:
        key = self._rng.choice(sorted(self.witness.acknowledged))
        self.witness.post(key, self.witness.acknowledged[key][1])

    def _delay(self, target: str) -> None:
        after_epoch, delay = self._rng.random() < 0.4, self._rng.uniform(0, 2 * EPOCH_SECONDS)
        event = "the next epoch" if after_epoch else "the previous kill"
        log.info("kill %d: %s, %.2f s after %s", self.kills, target, delay, event)
        if after_epoch:
            epoch_count = self.witness.count_epochs()
            self._wait_or_end(lambda: self.witness.count_epochs() > epoch_count)
        time.sleep(delay)

    def kill_workers(self) -> None:
        """Kill a worker, and perhaps the ones that replace it."""
        self._kill_one_worker()
        while self._continues():
            time.sleep(self._rng.uniform(0, WORKER_SECONDS))
            self._kill_one_worker()

    def _kill_one_worker(self) -> None:
        while not (pids := self._workers()):
            self._keep_busy()
            self._wait_or_end(lambda: bool(self._workers()))
        _kill(self._rng.choice(pids))
        self.kills += 1

    def _workers(self) -> list[int]:
        return sorted(worker_pids(self._service.process.pid))

    def kill_fork_server(self) -> None:
        """Kill the fork server; its workers live on, and others take their runs."""
        pids = fork_server_pids(self._service.process.pid)
        for pid in pids:
            _kill(pid)
        self.kills += bool(pids)

    def _wait_or_end(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds or all runs have ended."""
        self.witness.wait(lambda: condition() or not self.witness.list_active())

    def kill_service(self) -> None:
        self._kill_processes(workers=False)
        self._start()

    def kill_both(self) -> None:
        self._kill_processes(workers=True)
        self._start()

    def kill_while_starting(self) -> None:
        """Kill the service, and perhaps the ones that replace it during their start."""
        self._kill_processes(workers=False)
        while self._continues():
            self._service.launch()
            time.sleep(self._rng.uniform(0, START_SECONDS))
            self._kill_processes(workers=False)
        self._start()

    def kill_during_request(self) -> None:
        """Kill the service during a request; when repeated, it has created exactly one run."""
        key, spec = self._next_request()
        run_ids: list[int] = []

        def post() -> None:
            with suppress(httpx.TransportError):
                run_ids.append(self.witness.post(key, spec))

        client = threading.Thread(target=post)
        client.start()
        time.sleep(self._rng.uniform(0, 0.05))
        self._kill_processes(workers=False)
        client.join()
        self._start()
        run_id = self.witness.post(key, spec)
        assert run_ids in ([], [run_id])

    def _continues(self) -> bool:
        return (
            self._rng.random() < self._plan.continuation_probability
            and self.kills < self._plan.kills
        )

    def _kill_processes(self, *, workers: bool) -> None:
        """Kill the service's process, and with `workers` its workers, before or after it."""
        pids_before = processes.list_pids(self._service.state_dir)
        pids = self._workers() if workers else []
        server_first = self._rng.random() < 0.5
        if server_first:
            self._service.kill()
        for pid in pids:
            _kill(pid)
        self._service.kill()
        self.kills += 1
        # Otherwise it is restarted while its remaining processes still end.
        if self._rng.random() < 0.5:
            processes.wait_for_end(self._service.state_dir, pids_before)
            invariants.check(self._store, self._service.state_dir)

    def _start(self) -> None:
        pids_before = processes.list_pids(self._service.state_dir)
        self._service.launch()
        self._service.connect()
        self.witness.forget_heartbeats()
        processes.wait_for_end(self._service.state_dir, pids_before)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


ATTACKS: dict[str, Callable[[KillLoop], None]] = {
    "workers": KillLoop.kill_workers,
    "fork server": KillLoop.kill_fork_server,
    "service": KillLoop.kill_service,
    "both": KillLoop.kill_both,
    "start": KillLoop.kill_while_starting,
    "request": KillLoop.kill_during_request,
}
