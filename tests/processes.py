"""Process information from /proc, and waiting for a condition."""

import time
from collections.abc import Callable
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
