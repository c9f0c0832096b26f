"""Memory of the machine, or of the container that this process runs in."""

import os
from contextlib import suppress
from pathlib import Path

LIMIT_FILES = (
    Path("/sys/fs/cgroup/memory.max"),  # cgroups 2
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),  # cgroups 1
)


def memory_bytes() -> int:
    """Physical memory, or the container's limit if that is smaller."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in LIMIT_FILES:
        # No such file outside of Linux, and the word `max` where there is no limit.
        with suppress(OSError, ValueError):
            sizes.append(int(file.read_text()))
    return min(sizes)
