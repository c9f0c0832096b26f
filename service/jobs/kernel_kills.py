"""How often the kernel killed for want of memory: evidence of why a process got SIGKILL."""

import re
from pathlib import Path
from typing import NamedTuple

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


class Hierarchy(NamedTuple):
    """How one version of cgroups tells of the kernel's kills."""

    mounted: str  # below CGROUPS
    own: str  # finds a process's own group in OWN_GROUPS
    counts: str  # a file of each group


V2 = Hierarchy("", r"^0::/(.*)$", "memory.events")
V1 = Hierarchy("memory", r"^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:/(.*)$", "memory.oom_control")


def oom_kills() -> int | None:
    """Processes of this cgroup that the kernel killed so far; None where it does not tell."""
    for hierarchy in (V2, V1):
        try:
            told = (own_group(hierarchy) / hierarchy.counts).read_text()
        except OSError:
            continue
        if found := re.search(r"^oom_kill (\d+)$", told, re.M):
            return int(found[1])
    return None


def own_group(hierarchy: Hierarchy) -> Path:
    """The folder of this process's group. Raises OSError where the machine has no cgroups."""
    root = CGROUPS / hierarchy.mounted
    found = re.search(hierarchy.own, OWN_GROUPS.read_text(), re.M)
    folder = root / found[1] if found else root
    # In a container the path may be the host's; its own cgroup is then the root that it sees.
    return folder if (folder / hierarchy.counts).exists() else root
