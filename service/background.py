"""Background threads that call functions at intervals. An exception delays the next call."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from service.errors import CamreelError

MAX_BACKOFF_SECONDS = 10.0
STALE_SECONDS = 60.0
JOIN_SECONDS = 2.0

log = structlog.get_logger()


class BackgroundTask:
    """Calls a function every `interval_seconds` in a thread, and immediately after `wake`.

    An exception is logged (with its traceback if it is the first in a row and not a CamreelError),
    and the next call is delayed: by twice the interval, then four times, up to
    `max_backoff_seconds` or the interval, whichever is longer. The service is not ready if no call
    has succeeded for `stale_seconds`.
    """

    def __init__(
        self,
        name: str,
        function: Callable[[], object],
        *,
        interval_seconds: float,
        max_backoff_seconds: float = MAX_BACKOFF_SECONDS,
        stale_seconds: float = STALE_SECONDS,
    ) -> None:
        self.name = name
        self._function = function
        self._interval_seconds = interval_seconds
        self._max_delay_seconds = max(interval_seconds, max_backoff_seconds)
        self._stale_seconds = max(stale_seconds, 3 * interval_seconds)
        self._failures = 0  # in a row
        self._succeeded_at = time.monotonic()
        self._stopping = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread. The first call follows after one interval."""
        self._succeeded_at = time.monotonic()
        self._thread.start()

    def wake(self) -> None:
        """Call the function now, or again after the call in progress."""
        self._wake.set()

    def request_stop(self) -> None:
        """Make no further call. The function itself may call this."""
        self._stopping = True
        self._wake.set()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the thread to end; whether it has."""
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def problem(self) -> str | None:
        """Why the task does not work, as a sentence; None if it does."""
        if self._stopping:
            return None
        if not self._thread.is_alive():
            return f"The background task {self.name} does not run."
        age_seconds = self.seconds_since_success()
        if age_seconds > self._stale_seconds:
            return (
                f"The background task {self.name} has not succeeded for {age_seconds:.0f} seconds."
            )
        return None

    def seconds_since_success(self) -> float:
        """Seconds since the last successful call, or since the start."""
        return time.monotonic() - self._succeeded_at

    def _run(self) -> None:
        delay_seconds = self._interval_seconds
        while True:
            self._wake.wait(delay_seconds)
            self._wake.clear()
            if self._stopping:
                return
            delay_seconds = self._call()

    def _call(self) -> float:
        """One call; the seconds until the next one."""
        try:
            self._function()
        except BaseException as error:  # of any type: the thread has no caller
            self._failures += 1
            # The stream of the log may be closed.
            with suppress(Exception):
                if not self._stopping:
                    self._log(error)
            # The exponent is bounded, so that a long outage does not overflow the float.
            delay_seconds = self._interval_seconds * 2.0 ** min(self._failures, 20)
            return min(self._max_delay_seconds, delay_seconds)
        self._failures = 0
        self._succeeded_at = time.monotonic()
        return self._interval_seconds

    def _log(self, error: BaseException) -> None:
        is_expected = isinstance(error, CamreelError)
        log.warning(
            "background task failed",
            task=self.name,
            failures=self._failures,
            error=str(error) if is_expected else type(error).__name__,
            exc_info=not is_expected and self._failures == 1,
        )


class BackgroundTasks:
    """The background tasks of one service, started and stopped together."""

    def __init__(self) -> None:
        self._tasks: list[BackgroundTask] = []
        self._is_started = False

    def add(self, task: BackgroundTask) -> BackgroundTask:
        """Add a task, and start it if the others have been started."""
        self._tasks.append(task)
        if self._is_started:
            task.start()
        return task

    def start(self) -> None:
        """Start all tasks."""
        self._is_started = True
        for task in self._tasks:
            task.start()

    def request_stop(self) -> None:
        """Make no further calls."""
        for task in self._tasks:
            task.request_stop()

    def join(self, timeout_seconds: float = JOIN_SECONDS) -> bool:
        """Wait up to `timeout_seconds` for all threads to end; whether all have.

        The others are daemon threads and end with the process.
        """
        deadline = time.monotonic() + timeout_seconds
        results = [task.join(max(0.0, deadline - time.monotonic())) for task in self._tasks]
        return all(results)

    def problems(self) -> list[str]:
        """Why tasks do not work, in sentences; empty if all do."""
        return [problem for task in self._tasks if (problem := task.problem())]
