"""The thread that sends a spool during the training, which no failure of it reaches."""

import logging
import random
import threading
import time
from collections.abc import Callable

from camreel.errors import Refused, RunInUse, Unavailable
from camreel.spool.sender import Sender

HEARTBEAT_SECONDS = 15.0
FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 60.0

log = logging.getLogger("camreel")


def backoff_seconds(failures: int, retry_after_seconds: float | None = None) -> float:
    """Seconds until the next attempt: doubled after each failure, at random, and as requested."""
    longest = min(MAX_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** min(failures - 1, 10))
    delay_seconds = longest * random.uniform(0.5, 1)  # noqa: S311  not for secrets
    return max(delay_seconds, retry_after_seconds or 0.0)


class BackgroundSender:
    """Sends a spool in a thread: epochs as they are recorded, and heartbeats in between."""

    def __init__(self, sender: Sender, on_change: Callable[[], None] = lambda: None) -> None:
        """`on_change` is called in the thread after each attempt."""
        self._sender = sender
        self._on_change = on_change
        self._wake = threading.Event()
        self._is_stopping = False
        self._failures = 0  # in a row
        self._contact_seconds = float("-inf")
        self._is_logged = False
        self.problem: str | None = None
        """Why nothing is sent at present; None while all works."""
        self.has_ended = False
        """Whether the service refuses the run for good."""
        self.sent_epochs = 0
        self._thread = threading.Thread(target=self._run, name="camreel-sender", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Send now what has been recorded."""
        self._wake.set()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs; not in a forked child."""
        return self._thread.is_alive()

    def stop(self, timeout_seconds: float) -> None:
        """Wait until all is sent, for `timeout_seconds` at most, and end the thread."""
        deadline = time.monotonic() + timeout_seconds
        self._wake.set()
        while self._thread.is_alive() and time.monotonic() < deadline:
            if self._sender.spool.is_done() or self.has_ended:
                break
            self._thread.join(0.02)
        self._is_stopping = True
        self._wake.set()
        self._thread.join(max(0.1, deadline - time.monotonic()))

    def _run(self) -> None:
        delay_seconds = 0.0
        while True:
            # After a failure, a new epoch does not shorten the delay.
            if self._failures:
                self._sleep(delay_seconds)
            else:
                self._wake.wait(delay_seconds)
            self._wake.clear()
            if self._is_stopping:
                return
            delay_seconds = self._attempt()
            self._on_change()
            if self.has_ended:
                return

    def _sleep(self, delay_seconds: float) -> None:
        deadline = time.monotonic() + delay_seconds
        while not self._is_stopping and time.monotonic() < deadline:
            time.sleep(min(0.05, max(0.0, deadline - time.monotonic())))

    def _attempt(self) -> float:
        """Send what there is; the seconds until the next attempt."""
        try:
            sent_epochs = self._sender.send_pending()
            self.sent_epochs += sent_epochs
            now_seconds = time.monotonic()
            if sent_epochs:
                self._contact_seconds = now_seconds
            elif now_seconds - self._contact_seconds >= HEARTBEAT_SECONDS:
                self._sender.heartbeat()
                self._contact_seconds = now_seconds
        except Unavailable as error:
            return self._delay(str(error), error.retry_after_seconds)
        except (Refused, RunInUse) as error:
            self.has_ended = True
            self._report(str(error))
            return 0.0
        except Exception as error:  # of any type: the training goes on
            return self._delay(f"{type(error).__name__}: {error}", None)
        self._failures = 0
        self.problem = None
        return HEARTBEAT_SECONDS

    def _delay(self, reason: str, retry_after_seconds: float | None) -> float:
        self._failures += 1
        self._report(reason)
        return backoff_seconds(self._failures, retry_after_seconds)

    def _report(self, reason: str) -> None:
        self.problem = reason
        if not self._is_logged:
            self._is_logged = True
            log.warning("camreel: %s. The training goes on; %s", reason, self._sender.spool.folder)

    def keep_alive(self) -> None:
        """Send a heartbeat if the last contact is long ago, within a long upload."""
        if time.monotonic() - self._contact_seconds >= HEARTBEAT_SECONDS:
            self._contact_seconds = time.monotonic()
            self._sender.heartbeat()
