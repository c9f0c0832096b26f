"""Shutdown within bounded time after SIGTERM or SIGINT; a second signal forces it."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable

import structlog

SHUTDOWN_SECONDS = 9.0
"""Below the ten seconds after which Docker kills; a clean shutdown takes a fraction of it."""

REPEAT_SECONDS = 0.5
"""A signal this soon after the first is not a second one: the terminal and `make` send one each."""

ABORT_SECONDS = 2.0
CANCEL = 0  # not the number of any signal
SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})

log = structlog.get_logger()


class ShutdownWatchdog:
    """Exits the process if its shutdown, begun by a signal or by `begin`, does not finish in time.

    The interpreter writes signal numbers to a socket immediately, even while the main thread is
    blocked in a call. A thread reads them from the socket.
    """

    def __init__(self, abort: Callable[[], None]) -> None:
        """`abort` stops what would outlive the process; it may block."""
        self._abort = abort
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        self._watches_signals = False
        threading.Thread(target=self._watch, name="shutdown", daemon=True).start()

    def watch_signals(self) -> None:
        """Begin at the next signal. Must be called in the main thread."""
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        self._watches_signals = True

    def ignore_signals(self) -> None:
        """Do not force the shutdown at further signals; keep the deadline."""
        if self._watches_signals:
            signal.set_wakeup_fd(-1)

    def begin(self) -> None:
        """Begin as if SIGTERM had been received."""
        self._sender.send(bytes([signal.SIGTERM]))

    def cancel(self) -> None:
        """Do not exit: the shutdown is complete and the process continues."""
        self._sender.send(bytes([CANCEL]))

    def _watch(self) -> None:
        number = self._next_signal()
        start_time = time.monotonic()
        while (remaining_seconds := start_time + SHUTDOWN_SECONDS - time.monotonic()) > 0:
            self._receiver.settimeout(remaining_seconds)
            try:
                if self._next_signal() == CANCEL:
                    return
            except TimeoutError:
                break
            if time.monotonic() - start_time > REPEAT_SECONDS:
                break
        log.warning("shutdown forced", seconds=round(time.monotonic() - start_time, 1))
        abort_thread = threading.Thread(target=self._abort, daemon=True)
        abort_thread.start()
        abort_thread.join(ABORT_SECONDS)
        # The exit status that shells use for a process ended by a signal.
        os._exit(128 + number)

    def _next_signal(self) -> int:
        while (number := self._receiver.recv(1)[0]) not in SIGNALS | {CANCEL}:
            pass
        return number
