"""What /proc tells of a service's processes, and waiting for what is to come."""

import time
from collections.abc import Callable
from pathlib import Path

TIMEOUT_SECONDS = 120.0
FORK_SERVER = b"multiprocessing.forkserver"
"""In the command line of the process that workers are forked from, and so in theirs."""


def until(condition: Callable[[], object], seconds: float = TIMEOUT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


def state_of(pid: int) -> str:
    """One letter, T for stopped; "" for a process that is gone."""
    fields = _fields(pid)
    return fields[0].decode() if fields else ""


def is_alive(pid: int) -> bool:
    return state_of(pid) not in ("", "Z")


def workers_of(pid: int) -> list[int]:
    """Worker processes of a service: forked from the one that it keeps for that."""
    forks = [child for server in fork_servers_of(pid) for child in _children_of(server)]
    return [fork for fork in forks if is_alive(fork)]


def fork_servers_of(pid: int) -> list[int]:
    return [child for child in _children_of(pid) if FORK_SERVER in _read(child, "cmdline")]


def _parent_of(pid: int) -> int:
    """0 for a process that is gone."""
    fields = _fields(pid)
    return int(fields[1]) if fields else 0


def _children_of(pid: int) -> list[int]:
    every = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    return [one for one in every if _parent_of(one) == pid]


def _fields(pid: int) -> list[bytes]:
    """From its state on: the name before may hold blanks."""
    return _read(pid, "stat").rpartition(b")")[2].split()


def _read(pid: int, name: str) -> bytes:
    try:
        return (Path("/proc") / str(pid) / name).read_bytes()
    except OSError:
        return b""


def open_files(pid: int) -> int:
    return len(list((Path("/proc") / str(pid) / "fd").iterdir()))
