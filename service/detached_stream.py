"""A text stream whose writers never block: a thread writes to the file descriptor."""

import atexit
import io
import json
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

MAX_PENDING_BYTES = 2**20
DRAIN_SECONDS = 1.0  # when the process ends
ATOMIC_BYTES = 4096
"""A pipe keeps a system call's bytes together up to this number, whatever others write to it."""


class DetachedStream(io.TextIOBase):
    """Text stream for a descriptor. `write` returns at once, even if the reader is stalled.

    Writes that do not fit into the queue, or fail, are dropped and counted; a log line reports the
    count as soon as it can be written.
    """

    def __init__(self, descriptor: int | None, max_pending_bytes: int = MAX_PENDING_BYTES) -> None:
        self._descriptor = descriptor
        self._max_pending_bytes = max_pending_bytes
        self._queue: deque[bytes] = deque()
        self._pending_bytes = 0
        self._unreported = 0
        self.dropped = 0  # writes, since the start
        # Reentrant: a signal handler may write while its thread does.
        self._condition = threading.Condition(threading.RLock())
        threading.Thread(target=self._run, name="detached-stream", daemon=True).start()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Encoding of the written bytes."""
        return "utf-8"

    def writable(self) -> bool:
        """True."""
        return True

    def isatty(self) -> bool:
        """Whether the descriptor is a terminal."""
        return self._descriptor is not None and os.isatty(self._descriptor)

    def fileno(self) -> int:
        """The descriptor. Raises OSError if there is none."""
        if self._descriptor is None:
            raise OSError("no descriptor")
        return self._descriptor

    def write(self, text: str) -> int:
        """Queue the text. Never raises, never blocks."""
        data = text.encode(errors="backslashreplace")
        with self._condition:
            if self._pending_bytes + len(data) > self._max_pending_bytes:
                self._count_dropped()
            else:
                self._queue.append(data)
                self._pending_bytes += len(data)
                self._condition.notify_all()
        return len(text)

    def flush(self) -> None:
        """Do nothing: log handlers flush after each line, and must not block."""

    def drain(self, timeout_seconds: float = DRAIN_SECONDS) -> bool:
        """Wait until everything is written; False after `timeout_seconds`."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._pending_bytes, timeout_seconds)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._queue)
                writes = list(self._queue)
                self._queue.clear()
            is_written = all(map(self._write_all, _chunks(writes)))
            with self._condition:
                if not is_written:
                    self._count_dropped(len(writes))
                elif self._unreported and not self._queue:
                    # The dropped writes came after everything that was queued.
                    self._write_all(_dropped_line(self._unreported))
                    self._unreported = 0
                self._pending_bytes -= sum(map(len, writes))
                self._condition.notify_all()

    def _count_dropped(self, writes: int = 1) -> None:
        self.dropped += writes
        self._unreported += writes

    def _write_all(self, data: bytes) -> bool:
        if self._descriptor is None:
            return False
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # another program made the descriptor non-blocking
                select.select([], [self._descriptor], [])
            except OSError:  # no reader, or a full disk
                return False
        return True


def detach_stderr() -> None:
    """Replace standard error by a DetachedStream, unless it has been replaced already.

    When the process ends, queued text has DRAIN_SECONDS to be written.
    """
    if sys.stderr is not sys.__stderr__:
        return
    stream = DetachedStream(None if sys.stderr is None else sys.stderr.fileno())
    sys.stderr = stream
    atexit.register(stream.drain)


def drain_stderr() -> None:
    """Wait up to DRAIN_SECONDS for queued text, in processes that end without `atexit`."""
    if isinstance(sys.stderr, DetachedStream):
        sys.stderr.drain()


def dropped_writes() -> int:
    """Number of lines for standard error dropped since the process started."""
    return sys.stderr.dropped if isinstance(sys.stderr, DetachedStream) else 0


def _chunks(writes: Sequence[bytes]) -> Iterator[bytes]:
    """Writes joined up to ATOMIC_BYTES: few system calls, and lines of other processes between."""
    chunk = b""
    for data in writes:
        if chunk and len(chunk) + len(data) > ATOMIC_BYTES:
            yield chunk
            chunk = b""
        chunk += data
    yield chunk


def _dropped_line(count: int) -> bytes:
    line = {
        "dropped": count,
        "event": "log lines dropped: nobody read standard error",
        "level": "warning",
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }
    return f"{json.dumps(line)}\n".encode()
