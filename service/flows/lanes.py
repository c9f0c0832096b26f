"""Lanes: threads for expensive work, each with a bounded number of waiting requests.

Requests that ask for the same share one computation. A computation that nobody waits for any more
leaves the queue, or ends at its next check.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle
from typing import Any, Generic, TypeVar

from service.core import cancellation, progress
from service.errors import PoolFull, RequestCancelled

T = TypeVar("T")

CLOSE_SECONDS = 2.0


class LaneName(StrEnum):
    """What threads are for. A lane that is full keeps no other from working."""

    READING = "reading"  # requests resolved, answers made of rows or found in a cache
    CHANGES = "changes"  # requests that write to the database
    INTERACTIVE = "interactive"  # single maps and small atlases, by cheap methods
    BATCH = "batch"  # everything else that computes, and all jobs


class Computation(Generic[T]):
    """A function that waits for a thread, runs, or has ended; `result` holds its outcome."""

    def __init__(self, function: Callable[[], T], key: Hashable | None) -> None:
        self.key = key
        self.result: Future[T] = Future()
        self.progress: float | None = None  # 0..1 once it reports any
        self.holders = 1  # requests and jobs that wait for it
        self._function: Callable[[], T] | None = function
        # Of the first request: its identity belongs in the log's lines.
        self._context = copy_context()

    @property
    def is_wanted(self) -> bool:
        """Whether anybody waits for it; once nobody does, nobody will again."""
        return self.holders > 0

    def drop(self) -> None:
        """Never run it."""
        self._function = None
        self.result.set_exception(RequestCancelled("Nobody waits for the answer any more."))

    def run(self) -> None:
        """Call the function in this thread."""
        self._context.run(self._run)

    def _run(self) -> None:
        function, self._function = self._function, None
        try:
            with (
                cancellation.cancellable(lambda: self.is_wanted),
                progress.report_progress_to(self._report),
            ):
                cancellation.raise_if_cancelled()
                assert function is not None  # noqa: S101  for mypy
                value = function()
        except BaseException as error:  # whatever it is: the thread has no caller
            self.result.set_exception(error)
        else:
            self.result.set_result(value)

    def _report(self, fraction: float) -> None:
        self.progress = max(self.progress or 0.0, min(1.0, fraction))


@dataclass(frozen=True)
class LaneLoad:
    """How busy a lane is, counted in computations."""

    running: int
    waiting: int


class Lane:
    """Up to `threads` computations at once; of requests at most `max_waiting` more wait.

    Jobs wait in a queue of their own, which whoever creates them bounds. Where both wait, a request
    and a job are taken in turn.
    """

    def __init__(self, name: LaneName, threads: int, max_waiting: int) -> None:
        self.name = name
        self._max_threads, self._max_waiting = threads, max_waiting
        self._changed = threading.Condition()
        self._requests: deque[Computation[Any]] = deque()
        self._jobs: deque[Computation[Any]] = deque()
        self._turns = cycle([(self._requests, self._jobs), (self._jobs, self._requests)])
        self._by_key: dict[Hashable, Computation[Any]] = {}
        self._running: set[Computation[Any]] = set()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(
        self, function: Callable[[], T], *, key: Hashable | None = None, job: bool = False
    ) -> Computation[T]:
        """Queue the function, or join the computation of equal `key` that waits or runs.

        Whoever submits calls `leave` once, when it does not wait any more. Raises PoolFull.
        """
        with self._changed:
            if self._closed:
                raise RequestCancelled("The service stops.")
            if key is not None and (same := self._by_key.get(key)) is not None and same.is_wanted:
                same.holders += 1
                return same
            idle = self._max_threads - len(self._running)
            if not job and len(self._requests) >= self._max_waiting + idle:
                raise PoolFull(self.name)
            computation = Computation(function, key)
            (self._jobs if job else self._requests).append(computation)
            if key is not None:
                self._by_key[key] = computation
            self._start_thread()
            self._changed.notify()
            return computation

    def leave(self, computation: Computation[Any]) -> None:
        """One that submitted or joined it waits no more."""
        with self._changed:
            computation.holders -= 1
            if computation.is_wanted:
                return
            for queue in (self._requests, self._jobs):
                if computation in queue:
                    queue.remove(computation)
                    self._forget(computation)
                    computation.drop()

    @property
    def load(self) -> LaneLoad:
        """As of now."""
        with self._changed:
            return LaneLoad(len(self._running), len(self._requests) + len(self._jobs))

    def request_stop(self) -> None:
        """Take nothing more; what waits is dropped, and what runs ends at its next check."""
        with self._changed:
            self._closed = True
            waiting = [*self._requests, *self._jobs]
            self._requests.clear()
            self._jobs.clear()
            for computation in (*waiting, *self._running):
                computation.holders = 0
            self._changed.notify_all()
        for computation in waiting:
            computation.drop()

    def join(self, deadline: float) -> None:
        """Wait for what runs; what has not ended by then (monotonic) ends with the process."""
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _start_thread(self) -> None:
        wanted = len(self._running) + len(self._requests) + len(self._jobs)
        if len(self._threads) < min(wanted, self._max_threads):
            number = len(self._threads)
            thread = threading.Thread(target=self._work, name=f"{self.name}-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while self._run_next():
            pass

    def _run_next(self) -> bool:
        """Wait for a computation and run it; False when the lane is closed."""
        computation = self._next()
        if computation is None:
            return False
        computation.run()
        with self._changed:
            self._running.discard(computation)
            self._forget(computation)
        return True

    def _next(self) -> Computation[Any] | None:
        """The next one, which counts as running from now on; None when the lane is closed."""
        with self._changed:
            while not self._closed:
                for queue in next(self._turns):
                    if queue:
                        computation = queue.popleft()
                        self._running.add(computation)
                        return computation
                self._changed.wait()
            return None

    def _forget(self, computation: Computation[Any]) -> None:
        # Under its key may stand a later one: an abandoned one is not joined.
        if self._by_key.get(computation.key) is computation:
            del self._by_key[computation.key]


class Lanes:
    """The lanes of one service."""

    def __init__(self, sizes: dict[LaneName, tuple[int, int]]) -> None:
        self._lanes = {name: Lane(name, *sizes[name]) for name in LaneName}

    def __getitem__(self, name: LaneName) -> Lane:
        return self._lanes[name]

    def loads(self) -> dict[LaneName, LaneLoad]:
        """How busy each is now."""
        return {name: lane.load for name, lane in self._lanes.items()}

    def close(self) -> None:
        """End what runs, and take nothing more."""
        for lane in self._lanes.values():
            lane.request_stop()
        deadline = time.monotonic() + CLOSE_SECONDS
        for lane in self._lanes.values():
            lane.join(deadline)
