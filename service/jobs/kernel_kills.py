"""Count of processes that the kernel killed for lack of memory: tells why one got SIGKILL."""

import re
from pathlib import Path
from typing import NamedTuple

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


class Hierarchy(NamedTuple):
    """Where a version of cgroups counts the kernel's kills."""

    mount: str  # below CGROUPS
    group_pattern: str  # matches this process's group in OWN_GROUPS
    counter_file: str  # in the folder of each group


V2 = Hierarchy("", r"^0::/(.*)$", "memory.events")
V1 = Hierarchy("memory", r"^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:/(.*)$", "memory.oom_control")


def oom_kills() -> int | None:
    """Number of processes of this cgroup killed for lack of memory; None if unknown."""
    for hierarchy in (V2, V1):
        try:
            text = (own_group(hierarchy) / hierarchy.counter_file).read_text()
        except OSError:
            continue
        if match := re.search(r"^oom_kill (\d+)$", text, re.M):
            return int(match[1])
    return None


def own_group(hierarchy: Hierarchy) -> Path:
    """The folder of this process's group. Raises OSError on a machine without cgroups."""
    root = CGROUPS / hierarchy.mount
    match = re.search(hierarchy.group_pattern, OWN_GROUPS.read_text(), re.M)
    folder = root / match[1] if match else root
    # In a container the path may be the host's. The container's cgroup is then the visible root.
    return folder if (folder / hierarchy.counter_file).exists() else root
