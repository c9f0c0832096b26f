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
"""About what a start, a worker's first epoch and a later one take: kills are spread over them."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """How many kills, of how many runs, and how often the next comes before anything was done."""

    kills: int
    specs: list[Spec]
    at_once: int  # runs that train
    unended: int  # with those that wait
    again: float


class KillLoop:
    """The same seed gives the same kills and delays; what they hit is the machine's to say."""

    def __init__(self, service: Service, store: Store, plan: Plan, seed: int) -> None:
        self._service = service
        self._store = store
        self._plan = plan
        self.witness = Witness(service, store)
        self.kills = 0
        self.struck: dict[str, int] = dict.fromkeys(STROKES, 0)
        self._rng = random.Random(seed)

    def run(self) -> None:
        """Kill as often as is planned, then let all runs end."""
        while self.kills < self._plan.kills:
            self._keep_busy()
            name = self._rng.choice(list(STROKES))
            self._let_time_pass(name)
            STROKES[name](self)
            self.struck[name] += 1
            self.witness.look(again=True)
            self._ask_again()
            invariants.check(self._store, self._service.state_dir, at_rest=False)
        self.witness.wait(lambda: not self.witness.unended())

    def _keep_busy(self) -> None:
        self.witness.look()
        while len(self.witness.unended()) < self._plan.unended:
            self.witness.post(*self._next_request())
            self.witness.look()

    def _next_request(self) -> tuple[str, Spec]:
        number = len(self.witness.acknowledged)
        return f"run {number}", self._plan.specs[number % len(self._plan.specs)]

    def _ask_again(self) -> None:
        key = self._rng.choice(sorted(self.witness.acknowledged))
        self.witness.post(key, self.witness.acknowledged[key][1])

    def _let_time_pass(self, name: str) -> None:
        progress, delay = self._rng.random() < 0.4, self._rng.uniform(0, 2 * EPOCH_SECONDS)
        since = "the next epoch" if progress else "the kill before"
        log.info("kill %d: %s, %.2f s after %s", self.kills, name, delay, since)
        if progress:
            epochs_before = self.witness.epochs_seen()
            self._wait_or_end(lambda: self.witness.epochs_seen() > epochs_before)
        time.sleep(delay)

    def kill_workers(self) -> None:
        """One, and perhaps the one that takes its place, and so on."""
        self._kill_one_worker()
        while self._strikes_again():
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
        """Its workers live on unseen, and others take their runs."""
        pids = fork_server_pids(self._service.process.pid)
        for pid in pids:
            _kill(pid)
        self.kills += bool(pids)

    def _wait_or_end(self, condition: Callable[[], bool]) -> None:
        """Runs that end meanwhile bring nothing more that could be waited for."""
        self.witness.wait(lambda: condition() or not self.witness.unended())

    def kill_server(self) -> None:
        self._strike(workers=False)
        self._start()

    def kill_both(self) -> None:
        self._strike(workers=True)
        self._start()

    def kill_while_starting(self) -> None:
        """The server, and perhaps the one that is to take its place, and so on."""
        self._strike(workers=False)
        while self._strikes_again():
            self._service.launch()
            time.sleep(self._rng.uniform(0, START_SECONDS))
            self._strike(workers=False)
        self._start()

    def kill_while_asked(self) -> None:
        """A request is under way: done or not, it is done once when it is sent again."""
        key, spec = self._next_request()
        run_ids: list[int] = []

        def ask() -> None:
            with suppress(httpx.TransportError):
                run_ids.append(self.witness.post(key, spec))

        client = threading.Thread(target=ask)
        client.start()
        time.sleep(self._rng.uniform(0, 0.05))
        self._strike(workers=False)
        client.join()
        self._start()
        run_id = self.witness.post(key, spec)
        assert run_ids in ([], [run_id])

    def _strikes_again(self) -> bool:
        return self._rng.random() < self._plan.again and self.kills < self._plan.kills

    def _strike(self, *, workers: bool) -> None:
        """Kill the server, and with `workers` those that it has, before it or after it."""
        pids_before = processes.of(self._service.state_dir)
        pids = self._workers() if workers else []
        server_first = self._rng.random() < 0.5
        if server_first:
            self._service.kill()
        for pid in pids:
            _kill(pid)
        self._service.kill()
        self.kills += 1
        # As often as not it is started again while what it left still dies.
        if self._rng.random() < 0.5:
            processes.wait_for_end(self._service.state_dir, pids_before)
            invariants.check(self._store, self._service.state_dir)

    def _start(self) -> None:
        pids_before = processes.of(self._service.state_dir)
        self._service.launch()
        self._service.connect()
        self.witness.restarted()
        processes.wait_for_end(self._service.state_dir, pids_before)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


STROKES: dict[str, Callable[[KillLoop], None]] = {
    "workers": KillLoop.kill_workers,
    "fork server": KillLoop.kill_fork_server,
    "server": KillLoop.kill_server,
    "both": KillLoop.kill_both,
    "starting": KillLoop.kill_while_starting,
    "asked": KillLoop.kill_while_asked,
}
