"""Thread pools for expensive work, each with a bounded queue.

Identical requests share one computation. A computation without waiters leaves the queue, or stops
at its next cancellation check.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import cycle
from typing import Any, Generic, TypeVar

from service.core import cancellation, progress
from service.errors import PoolFull, RequestCancelled

T = TypeVar("T")

CLOSE_SECONDS = 2.0


class PoolName(StrEnum):
    """A pool per kind of work, so that a full pool does not block the others."""

    READING = "reading"  # requests that are resolved, or answered from rows or a cache
    WRITING = "writing"  # requests that write to the database
    INTERACTIVE = "interactive"  # single maps and small atlases, cheap methods only
    BATCH = "batch"  # all other computations, and all jobs


class Computation(Generic[T]):
    """A queued, running or finished function call; `result` holds its outcome."""

    def __init__(self, function: Callable[[], T], key: Hashable | None) -> None:
        self.key = key
        self.result: Future[T] = Future()
        self.progress: float | None = None  # 0..1; None before the first report
        self.waiter_count = 1  # requests and jobs that wait for the result
        self._function: Callable[[], T] | None = function
        # The first request's context: log lines carry its request id.
        self._context = copy_context()

    @property
    def is_wanted(self) -> bool:
        """Whether a request or job waits for it; once False, it stays False."""
        return self.waiter_count > 0

    def cancel(self) -> None:
        """Remove the function and set RequestCancelled as the result."""
        self._function = None
        self.result.set_exception(RequestCancelled("All clients have disconnected."))

    def run(self) -> None:
        """Call the function in the current thread and store its outcome in `result`."""
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
        except BaseException as error:  # everything: the thread has no caller
            self.result.set_exception(error)
        else:
            self.result.set_result(value)

    def _report(self, fraction: float) -> None:
        self.progress = max(self.progress or 0.0, min(1.0, fraction))


@dataclass(frozen=True)
class PoolLoad:
    """Computations of a pool."""

    running: int
    waiting: int


class ThreadPool:
    """Up to `threads` concurrent computations, and a queue of at most `max_waiting` requests.

    Jobs have a separate queue, bounded by `Jobs`. With entries in both, the pool alternates
    between them.
    """

    def __init__(
        self,
        name: PoolName,
        threads: int,
        max_waiting: int,
        on_thread_start: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_thread_start` is called in each thread before its first computation."""
        self.name = name
        self._on_thread_start = on_thread_start
        self._max_threads, self._max_waiting = threads, max_waiting
        self._changed = threading.Condition()
        self._requests: deque[Computation[Any]] = deque()
        self._jobs: deque[Computation[Any]] = deque()
        self._turns = cycle([(self._requests, self._jobs), (self._jobs, self._requests)])
        self._by_key: dict[Hashable, Computation[Any]] = {}
        self._running: set[Computation[Any]] = set()
        self._borrowed_slots = 0
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(
        self, function: Callable[[], T], *, key: Hashable | None = None, job: bool = False
    ) -> Computation[T]:
        """Queue the function, or join the queued or running computation with an equal `key`.

        The caller must call `leave` once when it stops waiting. Raises PoolFull, and
        RequestCancelled after `request_stop`.
        """
        with self._changed:
            if self._closed:
                raise RequestCancelled("The service is shutting down.")
            if (
                key is not None
                and (shared := self._by_key.get(key)) is not None
                and shared.is_wanted
            ):
                shared.waiter_count += 1
                return shared
            idle = self._max_threads - self._running_count
            if not job and len(self._requests) >= self._max_waiting + idle:
                raise PoolFull(self.name)
            computation = Computation(function, key)
            (self._jobs if job else self._requests).append(computation)
            if key is not None:
                self._by_key[key] = computation
            self._start_thread()
            self._changed.notify()
            return computation

    @contextmanager
    def borrow_slot(self) -> Iterator[bool]:
        """Whether nothing waits and a thread is idle: then the block computes in its place.

        Handing a short computation over to a thread of the pool, and its result back, takes longer
        than the computation.
        """
        with self._changed:
            is_idle = (
                not (self._closed or self._requests or self._jobs)
                and self._running_count < self._max_threads
            )
            self._borrowed_slots += is_idle
        try:
            yield is_idle
        finally:
            if is_idle:
                with self._changed:
                    self._borrowed_slots -= 1
                    if self._requests or self._jobs:  # a woken thread competes for the GIL
                        self._changed.notify()

    def leave(self, computation: Computation[Any]) -> None:
        """Remove one waiter; without waiters, a queued computation is cancelled."""
        with self._changed:
            computation.waiter_count -= 1
            if computation.is_wanted:
                return
            for queue in (self._requests, self._jobs):
                if computation in queue:
                    queue.remove(computation)
                    self._forget(computation)
                    computation.cancel()

    @property
    def load(self) -> PoolLoad:
        """Current number of running and waiting computations."""
        with self._changed:
            return PoolLoad(self._running_count, len(self._requests) + len(self._jobs))

    def request_stop(self) -> None:
        """Reject new work, cancel queued work, and stop running work at its next check."""
        with self._changed:
            self._closed = True
            waiting = [*self._requests, *self._jobs]
            self._requests.clear()
            self._jobs.clear()
            for computation in (*waiting, *self._running):
                computation.waiter_count = 0
            self._changed.notify_all()
        for computation in waiting:
            computation.cancel()

    def join(self, deadline: float) -> None:
        """Wait for the threads until `deadline` (time.monotonic); the rest end with the process."""
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def _running_count(self) -> int:
        return len(self._running) + self._borrowed_slots

    def _start_thread(self) -> None:
        load = len(self._running) + len(self._requests) + len(self._jobs)
        if len(self._threads) < min(load, self._max_threads):
            number = len(self._threads)
            thread = threading.Thread(target=self._work, name=f"{self.name}-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        self._on_thread_start()
        while self._run_next():
            pass

    def _run_next(self) -> bool:
        """Wait for a computation and run it; False when the pool is closed."""
        computation = self._take_computation()
        if computation is None:
            return False
        computation.run()
        with self._changed:
            self._running.discard(computation)
            self._forget(computation)
        return True

    def _take_computation(self) -> Computation[Any] | None:
        """The next computation, already counted as running; None when the pool is closed."""
        with self._changed:
            while not self._closed:
                if self._running_count < self._max_threads:
                    for queue in next(self._turns):
                        if queue:
                            computation = queue.popleft()
                            self._running.add(computation)
                            return computation
                self._changed.wait()
            return None

    def _forget(self, computation: Computation[Any]) -> None:
        # A later computation may have its key: one without waiters is not joined.
        if self._by_key.get(computation.key) is computation:
            del self._by_key[computation.key]


class ThreadPools:
    """The thread pools of one process, by name."""

    def __init__(
        self,
        sizes: dict[PoolName, tuple[int, int]],
        on_thread_start: Callable[[PoolName], None] = lambda _: None,
    ) -> None:
        """`sizes` maps a name to (threads, max_waiting). `on_thread_start` as of ThreadPool."""
        self._pools = {
            name: ThreadPool(name, *sizes[name], partial(on_thread_start, name))
            for name in PoolName
        }

    def __getitem__(self, name: PoolName) -> ThreadPool:
        return self._pools[name]

    def loads(self) -> dict[PoolName, PoolLoad]:
        """Current load of each pool."""
        return {name: pool.load for name, pool in self._pools.items()}

    def close(self) -> None:
        """Stop all pools; waits at most CLOSE_SECONDS for running work."""
        for pool in self._pools.values():
            pool.request_stop()
        deadline = time.monotonic() + CLOSE_SECONDS
        for pool in self._pools.values():
            pool.join(deadline)
