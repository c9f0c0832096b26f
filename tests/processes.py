"""Process information from /proc, and waiting for a condition."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

TIMEOUT_SECONDS = 120.0
FORK_SERVER = b"multiprocessing.forkserver"
"""Part of the command line of the process that forks workers; workers inherit it."""


def wait_until(condition: Callable[[], object], seconds: float = TIMEOUT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


def process_state(pid: int) -> str:
    """The state letter of /proc/<pid>/stat, T if stopped; "" if the process does not exist."""
    fields = _stat_fields(pid)
    return fields[0].decode() if fields else ""


def is_alive(pid: int) -> bool:
    return process_state(pid) not in ("", "Z")


def worker_pids(pid: int) -> list[int]:
    """Living worker processes of a service, or server processes of a supervisor: the children of
    its fork servers.
    """
    forks = [child for server in fork_server_pids(pid) for child in _child_pids(server)]
    return [fork for fork in forks if is_alive(fork)]


def fork_server_pids(pid: int) -> list[int]:
    return [child for child in _child_pids(pid) if FORK_SERVER in _read_proc_file(child, "cmdline")]


def _parent_pid(pid: int) -> int:
    """0 if the process does not exist."""
    fields = _stat_fields(pid)
    return int(fields[1]) if fields else 0


def _child_pids(pid: int) -> list[int]:
    pids = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    return [child for child in pids if _parent_pid(child) == pid]


def _stat_fields(pid: int) -> list[bytes]:
    """Fields of /proc/<pid>/stat from the state on; the name before it may contain spaces."""
    return _read_proc_file(pid, "stat").rpartition(b")")[2].split()


def _read_proc_file(pid: int, name: str) -> bytes:
    try:
        return (Path("/proc") / str(pid) / name).read_bytes()
    except OSError:
        return b""


def open_file_count(pid: int) -> int:
    return len(list((Path("/proc") / str(pid) / "fd").iterdir()))


@contextmanager
def slow_workers(pid: int) -> Iterator[None]:
    """The workers of a service run for a quarter of the time.

    A test that only needs a run in training then leaves the cores to others.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_slow_down, args=(pid, ended))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _slow_down(pid: int, ended: threading.Event) -> None:
    while not ended.is_set():
        workers = worker_pids(pid)
        for _ in range(10):
            _signal_all(workers, signal.SIGSTOP)
            ended.wait(0.15)
            _signal_all(workers, signal.SIGCONT)
            ended.wait(0.05)


def _signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
