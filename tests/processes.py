"""What /proc tells of a service's processes, and waiting for what is to come."""

import time
from collections.abc import Callable
from pathlib import Path

TIMEOUT_SECONDS = 120.0


def until(condition: Callable[[], object], seconds: float = TIMEOUT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


def state_of(pid: int) -> str:
    """One letter, T for stopped; "" for a process that is gone."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def is_alive(pid: int) -> bool:
    return state_of(pid) not in ("", "Z")


def workers_of(pid: int) -> list[int]:
    """Worker processes of a service; multiprocessing's own tracker is not one."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            command = (stat.parent / "cmdline").read_bytes()
        except (OSError, IndexError):
            continue
        if parent == pid and b"spawn_main" in command:
            found.append(int(stat.parent.name))
    return found


def open_files(pid: int) -> int:
    return len(list((Path("/proc") / str(pid) / "fd").iterdir()))
