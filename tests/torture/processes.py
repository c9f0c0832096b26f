"""Processes of a service, found by the state folder in their environment."""

import time
from pathlib import Path

END_SECONDS = 20.0


def list_pids(state_dir: Path) -> set[int]:
    """Ids of the live processes of a state folder, including those without their parent."""
    name = f"CAMREEL_STATE_DIR={state_dir}".encode()
    pids = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if name in (folder / "environ").read_bytes().split(b"\0"):
                pids.add(int(folder.name))
        except OSError:  # it has ended, or belongs to another user
            continue
    return pids


def wait_for_end(state_dir: Path, pids: set[int]) -> None:
    """Wait until none of these processes is alive; AssertionError if they outlive their service."""
    deadline = time.monotonic() + END_SECONDS
    while orphans := list_pids(state_dir) & pids:
        assert time.monotonic() < deadline, f"orphans: {orphans}"
        time.sleep(0.05)
