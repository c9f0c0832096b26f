"""Processes that a service left or has, told by the state folder that their environment names."""

import time
from pathlib import Path

from tests.processes import FORK_SERVER, parent_of

END_SECONDS = 20.0


def of(state_dir: Path) -> dict[int, bytes]:
    """Command lines of all that are alive, by process id; found even when their parent is gone."""
    name = f"CAMREEL_STATE_DIR={state_dir}".encode()
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if name in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes()
        except OSError:  # it ended meanwhile, or is another user's
            continue
    return found


def workers(state_dir: Path) -> list[int]:
    """Those that train, or are about to: forked from the one that is kept for that."""
    forks = set(fork_servers_and_forks(state_dir))
    return sorted(pid for pid in forks if parent_of(pid) in forks)


def fork_servers(state_dir: Path) -> list[int]:
    """What workers are forked from; of a service that was killed one may be about to end, too."""
    return sorted(set(fork_servers_and_forks(state_dir)) - set(workers(state_dir)))


def fork_servers_and_forks(state_dir: Path) -> list[int]:
    return [pid for pid, command in of(state_dir).items() if FORK_SERVER in command]


def wait_for_end(state_dir: Path, pids: set[int]) -> None:
    """Until none of those processes is alive: they must not outlive their service."""
    deadline = time.monotonic() + END_SECONDS
    while left := of(state_dir).keys() & pids:
        assert time.monotonic() < deadline, f"orphans: {left}"
        time.sleep(0.05)
