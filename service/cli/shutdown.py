"""An end within bounded time after SIGTERM or SIGINT, whatever hangs; a second signal forces it."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable

import structlog

SHUTDOWN_SECONDS = 9.0
"""Below the ten seconds after which Docker kills; an orderly end takes a fraction of it."""

REPEAT_SECONDS = 0.5
"""A signal so soon after the first is the same one: a terminal and `make` send one each."""

ABORT_SECONDS = 2.0
CANCELLED = 0  # no signal has this number
SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})

log = structlog.get_logger()


class ShutdownWatchdog:
    """Exits the process when its end, begun by a signal or by `begin`, does not end.

    The interpreter writes each signal to a socket at once, even while the main thread is in a call
    that does not return, and a thread reads them there.
    """

    def __init__(self, abort: Callable[[], None]) -> None:
        """`abort` ends what would outlive the process; it may hang."""
        self._abort = abort
        self._received, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        self._watches_signals = False
        threading.Thread(target=self._watch, name="shutdown", daemon=True).start()

    def watch_signals(self) -> None:
        """Begin with a signal. The main thread calls it."""
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        self._watches_signals = True

    def ignore_signals(self) -> None:
        """From now on a signal forces nothing, and the deadline stays."""
        if self._watches_signals:
            signal.set_wakeup_fd(-1)

    def begin(self) -> None:
        """Begin as if by SIGTERM."""
        self._sender.send(bytes([signal.SIGTERM]))

    def cancel(self) -> None:
        """Do not exit: the end has come, and the process goes on."""
        self._sender.send(bytes([CANCELLED]))

    def _watch(self) -> None:
        number = self._next()
        began = time.monotonic()
        while (left := began + SHUTDOWN_SECONDS - time.monotonic()) > 0:
            self._received.settimeout(left)
            try:
                if self._next() == CANCELLED:
                    return
            except TimeoutError:
                break
            if time.monotonic() - began > REPEAT_SECONDS:
                break
        log.warning("shutdown forced", seconds=round(time.monotonic() - began, 1))
        aborting = threading.Thread(target=self._abort, daemon=True)
        aborting.start()
        aborting.join(ABORT_SECONDS)
        # As a shell tells of a process that a signal ended.
        os._exit(128 + number)

    def _next(self) -> int:
        while (number := self._received.recv(1)[0]) not in SIGNALS | {CANCELLED}:
            pass
        return number
