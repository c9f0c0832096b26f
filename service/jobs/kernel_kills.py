"""How often the kernel killed for want of memory: evidence of why a process got SIGKILL."""

import re
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")

V2 = ("", r"^0::/(.*)$", "memory.events")
V1 = ("memory", r"^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:/(.*)$", "memory.oom_control")
"""Where a hierarchy's groups are, which of them is a process's own, and what tells of kills."""


def oom_kills() -> int | None:
    """Processes of this cgroup that the kernel killed so far; None where it does not tell."""
    for mounted, own, name in (V2, V1):
        try:
            told = (_own_folder(CGROUPS / mounted, own, name) / name).read_text()
        except OSError:
            continue
        if found := re.search(r"^oom_kill (\d+)$", told, re.M):
            return int(found[1])
    return None


def _own_folder(root: Path, own: str, name: str) -> Path:
    found = re.search(own, OWN_GROUPS.read_text(), re.M)
    folder = root / found[1] if found else root
    # In a container the path may be the host's; its own cgroup is then the root that it sees.
    return folder if (folder / name).exists() else root
