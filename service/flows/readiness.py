"""Readiness of the service, determined within two seconds even if the database hangs."""

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

import structlog

from service.background import BackgroundTasks
from service.errors import CamreelError
from service.jobs import Executor
from service.store import readiness
from service.store.store import Store

ANSWER_SECONDS = 2.0
REUSE_SECONDS = 1.0

NO_ANSWER = "The database did not answer in time."

log = structlog.get_logger()


@dataclass
class ReadinessProbe:
    """Checks the store in a separate thread: one check at a time, at most one per second.

    Requests during a check share it, so that a database that does not answer blocks only one
    thread.
    """

    store: Store
    executor: Executor
    background: BackgroundTasks
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _check: Future[str | None] | None = None
    _ended_at: float = 0.0

    def problems(self) -> list[str]:
        """Problems other than the store's, as sentences."""
        reasons = self.background.problems()
        if not self.executor.accepts_tasks():
            reasons.append("The executor takes no runs any more.")
        return reasons

    def start(self) -> Future[str | None]:
        """The check of the store in progress, the one that has just ended, or a new one.

        Its result is the problem that keeps the store from accepting writes, as a sentence without
        paths, or None. The caller treats a check longer than ANSWER_SECONDS as NO_ANSWER.
        """
        with self._lock:
            if self._check is None or self._is_outdated(self._check):
                self._check = Future()
                thread = threading.Thread(
                    target=self._run, args=(self._check,), name="readiness", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:
                    self._end(self._check, "The process cannot start another thread.")
            return self._check

    def _is_outdated(self, check: Future[str | None]) -> bool:
        return check.done() and time.monotonic() - self._ended_at >= REUSE_SECONDS

    def _run(self, check: Future[str | None]) -> None:
        try:
            reason = _store_problem(self.store)
        except BaseException:  # the thread has no caller, and requests wait for a result
            log.exception("readiness check failed")
            reason = "The readiness check failed; see the log."
        self._end(check, reason)

    def _end(self, check: Future[str | None], reason: str | None) -> None:
        self._ended_at = time.monotonic()
        check.set_result(reason)


def _store_problem(store: Store) -> str | None:
    try:
        readiness.check(store)
    except CamreelError as error:
        return str(error)
    except OSError:
        return "The disk cannot be read."
    return None
