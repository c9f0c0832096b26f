"""Calls a function that parses untrusted bytes in a process with limited time and memory.

The function gets and returns a JSON object and bytes; the process has no secrets in its
environment. It starts with the first call, is replaced when it exceeds a limit or dies, and ends
with its parent.
"""

import importlib
import json
import logging
import math
import os
import queue
import resource
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

Values = dict[str, Any]
Function = Callable[[Values, bytes], tuple[Values, bytes]]

_FRAME = struct.Struct(">II")  # length of the JSON, length of the data
_EXCEPTION = "sandbox_exception"  # key of an answer if the function raised

log = logging.getLogger(__name__)


class SandboxBusy(Exception):
    """No process was free within the time limit, or none could be started."""


class SandboxCrashed(Exception):
    """The process died during the call, or the function raised an exception."""


class LimitExceeded(Exception):
    """A call exceeded a limit, which the text states."""


@dataclass(frozen=True)
class Limits:
    """Limits of a call."""

    cpu_seconds: int
    wall_seconds: float
    memory_bytes: int  # address space, in addition to the idle process's
    answer_bytes: int = 2**24


class Sandbox:
    """Calls `function`, given as "package.module:name". Concurrent calls wait."""

    def __init__(self, function: str, limits: Limits, turn_seconds: float) -> None:
        self._function = function
        self._limits = limits
        self._turn_seconds = turn_seconds
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    def call(self, request: Values, data: bytes) -> tuple[Values, bytes]:
        """The function's result.

        Raises SandboxBusy after waiting for `turn_seconds`, LimitExceeded, and SandboxCrashed if
        the function raised or two processes died during the call.
        """
        if not self._turn.acquire(timeout=self._turn_seconds):
            raise SandboxBusy
        try:
            # Retry once: the first process may have been killed for another reason.
            answer = self._exchange(request, data) or self._exchange(request, data)
        finally:
            self._turn.release()
        if answer is None:
            raise SandboxCrashed
        return answer

    @property
    def process_id(self) -> int | None:
        """Id of the running process; None if there is none."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def close(self) -> None:
        """Kill the process. Further calls raise SandboxBusy."""
        self._is_closed = True
        process = self._process
        if process is not None:
            process.kill()
        with self._turn:
            self._discard()

    def _exchange(self, request: Values, data: bytes) -> tuple[Values, bytes] | None:
        """One call; None if the process died for a reason other than a limit."""
        process = self._running_process()
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            process.kill()

        # Killing the process also ends writing to it and reading from it, even if it is stopped.
        timer = threading.Timer(self._limits.wall_seconds, expire)
        timer.daemon = True
        timer.start()
        answer = None
        try:
            _write_frame(cast(IO[bytes], process.stdin), request, data)
            answer = _read_frame(cast(IO[bytes], process.stdout), self._limits.answer_bytes)
        except (OSError, ValueError, TypeError):  # a broken pipe, or an invalid answer
            log.warning("the process of %s ended during a call", self._function)
        finally:
            timer.cancel()
            exit_code = self._discard() if answer is None or _EXCEPTION in answer[0] else None
        if answer is None:
            self._check_exit(exit_code, expired.is_set())
        elif _EXCEPTION in answer[0]:
            self._check_exception(answer[0][_EXCEPTION])
        return answer

    def _check_exit(self, exit_code: int | None, expired: bool) -> None:
        if expired:
            raise LimitExceeded(f"{self._limits.wall_seconds:g} seconds")
        if exit_code == -signal.SIGXCPU:
            raise LimitExceeded(f"{self._limits.cpu_seconds} seconds of a processor")

    def _check_exception(self, type_name: str) -> None:
        if type_name == MemoryError.__name__:
            raise LimitExceeded(f"{self._limits.memory_bytes // 2**20} MiB of memory")
        log.error("%s raised %s", self._function, type_name)
        raise SandboxCrashed

    def _running_process(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._discard()
        if self._is_closed:
            raise SandboxBusy
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("CAMREEL_")
        }
        environment |= {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        limits = [str(self._limits.cpu_seconds), str(self._limits.memory_bytes)]
        try:
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter and module
                [sys.executable, "-P", "-m", __name__, self._function, *limits],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        except OSError as error:  # no free memory, process or descriptor
            raise SandboxBusy from error
        return self._process

    def _discard(self) -> int | None:
        """Kill the process and close its pipes; its exit code."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        for pipe in (process.stdin, process.stdout):
            try:
                cast(IO[bytes], pipe).close()
            except OSError:  # its buffer could not be written
                continue
        return process.wait()


def _write_frame(pipe: IO[bytes], values: Values, data: bytes) -> None:
    text = json.dumps(values).encode()
    pipe.write(_FRAME.pack(len(text), len(data)) + text)
    pipe.write(data)
    pipe.flush()


def _read_frame(pipe: IO[bytes], max_bytes: int = 2**32) -> tuple[Values, bytes] | None:
    """Values and data; None at the end of the pipe. Raises ValueError or TypeError if malformed."""
    lengths = pipe.read(_FRAME.size)
    if len(lengths) < _FRAME.size:
        return None
    text_bytes, data_bytes = _FRAME.unpack(lengths)
    if text_bytes + data_bytes > max_bytes:
        raise ValueError("a frame above the size limit")
    text, data = pipe.read(text_bytes), pipe.read(data_bytes)
    if len(data) < data_bytes:
        return None
    values = json.loads(text)
    if not isinstance(values, dict):
        raise TypeError("a frame without values")
    return values, data


def _serve(function_name: str, cpu_seconds: int, memory_bytes: int) -> None:
    """Answer calls from standard input on standard output, until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the group; the parent decides
    module, _, name = function_name.partition(":")
    function: Function = getattr(importlib.import_module(module), name)
    calls: queue.SimpleQueue[tuple[Values, bytes]] = queue.SimpleQueue()
    threading.Thread(target=_read_calls, args=(calls,), daemon=True).start()
    _set_limit(resource.RLIMIT_CORE, 0)
    _set_limit(resource.RLIMIT_FSIZE, 0)
    _set_limit(resource.RLIMIT_AS, memory_bytes + _address_space_bytes())
    while True:
        request, data = calls.get()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        _set_limit(resource.RLIMIT_CPU, math.ceil(usage.ru_utime + usage.ru_stime) + cpu_seconds)
        try:
            answer = function(request, data)
        except Exception as error:
            answer = {_EXCEPTION: _exception_name(error)}, b""
        del data
        _write_frame(sys.stdout.buffer, *answer)


def _read_calls(calls: "queue.SimpleQueue[tuple[Values, bytes]]") -> None:
    # In a separate thread: the parent's death closes the pipe, which must end a running call too.
    while (call := _read_frame(sys.stdin.buffer)) is not None:
        calls.put(call)
    os._exit(0)


def _exception_name(error: Exception) -> str:
    return MemoryError.__name__ if isinstance(error, MemoryError) else type(error).__name__


def _set_limit(limit: int, value: int) -> None:
    """Set a soft limit. The one of CPU time is raised before each call."""
    _, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _address_space_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 2**29  # not Linux; more than the process uses
    return pages * resource.getpagesize()


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
