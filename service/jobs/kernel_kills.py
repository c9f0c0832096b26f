"""How often the kernel killed for want of memory: evidence of why a process got SIGKILL."""

import re
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def oom_kills() -> int | None:
    """Processes of this cgroup that the kernel killed so far; None where it does not tell."""
    for name in ("memory.events", "memory/memory.oom_control"):
        try:
            found = re.search(r"^oom_kill (\d+)$", (_own_folder(name) / name).read_text(), re.M)
        except OSError:
            continue
        if found:
            return int(found[1])
    return None


def _own_folder(name: str) -> Path:
    own = re.search(r"^0::/(.*)$", Path("/proc/self/cgroup").read_text(), re.M)
    folder = CGROUPS / own[1] if own else CGROUPS
    # In a container the path may be the host's; its own cgroup is then the root that it sees.
    return folder if (folder / name).exists() else CGROUPS
