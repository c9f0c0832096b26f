"""Processes that a service left or has, told by the state folder that their environment names."""

import time
from pathlib import Path

END_SECONDS = 20.0


def of(state_dir: Path) -> set[int]:
    """All that are alive, found even when their parent is gone."""
    name = f"CAMREEL_STATE_DIR={state_dir}".encode()
    pids = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if name in (folder / "environ").read_bytes().split(b"\0"):
                pids.add(int(folder.name))
        except OSError:  # it ended meanwhile, or is another user's
            continue
    return pids


def wait_for_end(state_dir: Path, pids: set[int]) -> None:
    """Until none of those processes is alive: they must not outlive their service."""
    deadline = time.monotonic() + END_SECONDS
    while orphans := of(state_dir) & pids:
        assert time.monotonic() < deadline, f"orphans: {orphans}"
        time.sleep(0.05)
