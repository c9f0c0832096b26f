"""A stream that nobody waits for: a thread writes to the descriptor behind it."""

import atexit
import io
import json
import os
import select
import sys
import threading
from collections import deque
from datetime import UTC, datetime

MAX_PENDING_BYTES = 2**20
DRAIN_SECONDS = 1.0  # at the end of the process


class DetachedStream(io.TextIOBase):
    """Text for a descriptor. `write` returns at once, whether or not anybody reads there.

    What does not fit into the queue is dropped and counted, as is what nobody reads any more; a
    line says how much, as soon as there can be one.
    """

    def __init__(self, descriptor: int | None, max_pending_bytes: int = MAX_PENDING_BYTES) -> None:
        self._descriptor = descriptor
        self._max_pending_bytes = max_pending_bytes
        self._queue: deque[bytes] = deque()
        self._pending_bytes = 0
        self._unreported = 0
        self.dropped = 0  # writes, since the start
        # Reentrant: a signal's handler may write while its thread does.
        self._changed = threading.Condition(threading.RLock())
        threading.Thread(target=self._run, name="detached-stream", daemon=True).start()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the bytes that are written."""
        return "utf-8"

    def writable(self) -> bool:
        """Always."""
        return True

    def isatty(self) -> bool:
        """Whether the descriptor is a terminal."""
        return self._descriptor is not None and os.isatty(self._descriptor)

    def fileno(self) -> int:
        """The descriptor. Raises OSError where there is none."""
        if self._descriptor is None:
            raise OSError("no descriptor")
        return self._descriptor

    def write(self, text: str) -> int:
        """Queue the text. Never raises, never waits."""
        data = text.encode(errors="backslashreplace")
        with self._changed:
            if self._pending_bytes + len(data) > self._max_pending_bytes:
                self._count_dropped()
            else:
                self._queue.append(data)
                self._pending_bytes += len(data)
                self._changed.notify_all()
        return len(text)

    def flush(self) -> None:
        """Nothing: handlers flush after each line, and may not wait."""

    def drain(self, timeout_seconds: float = DRAIN_SECONDS) -> bool:
        """Wait until all is written, for so long at most; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending_bytes, timeout_seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue)
                data = self._queue.popleft()
            written = self._write_all(data)
            with self._changed:
                if not written:
                    self._count_dropped()
                elif self._unreported and not self._queue:
                    # Those that were dropped came after all that was queued.
                    self._write_all(_dropped_line(self._unreported))
                    self._unreported = 0
                self._pending_bytes -= len(data)
                self._changed.notify_all()

    def _count_dropped(self) -> None:
        self.dropped += 1
        self._unreported += 1

    def _write_all(self, data: bytes) -> bool:
        if self._descriptor is None:
            return False
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # another program made it so
                select.select([], [self._descriptor], [])
            except OSError:  # no reader any more, no room on a disk
                return False
        return True


def detach_stderr() -> None:
    """Have nobody in this process wait for who reads standard error.

    A stream that another program put in its place stays. What is written at the very end has a
    second to be read.
    """
    if sys.stderr is not sys.__stderr__:
        return
    stream = DetachedStream(None if sys.stderr is None else sys.stderr.fileno())
    sys.stderr = stream
    atexit.register(stream.drain)


def drain_stderr() -> None:
    """Give what was written a second to be read: for processes that end without `atexit`."""
    if isinstance(sys.stderr, DetachedStream):
        sys.stderr.drain()


def dropped_writes() -> int:
    """How many lines for standard error were dropped since the process started."""
    return sys.stderr.dropped if isinstance(sys.stderr, DetachedStream) else 0


def _dropped_line(count: int) -> bytes:
    line = {
        "dropped": count,
        "event": "log lines dropped: nobody read standard error",
        "level": "warning",
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }
    return f"{json.dumps(line)}\n".encode()
