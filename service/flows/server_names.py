"""Names of server processes, which show other processes of the machine whether one has died."""

import hashlib
import os
import secrets
from pathlib import Path

_PROC = Path("/proc")


def server_name() -> str:
    """A unique name for this process, at most 64 characters."""
    start_ticks = _start_ticks(os.getpid()) or "-"
    return f"{_host_id() or '-'}:{os.getpid()}:{start_ticks}:{secrets.token_hex(8)}"


def is_dead(name: str) -> bool:
    """Whether the named process has certainly ended; False for a process of another machine."""
    machine, process_id, start_ticks, *_ = [*name.split(":"), "", ""]
    if not process_id.isdecimal() or machine == "-" or machine != _host_id():
        return False
    return _start_ticks(int(process_id)) != start_ticks


def _host_id() -> str | None:
    """Identifies this boot and this container's process namespace; None if unknown."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text()
        namespace = (_PROC / "self/ns/pid").readlink()
    except OSError:
        return None
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:16]


def _start_ticks(process_id: int) -> str | None:
    """Start time of a process, in ticks since boot; None if it does not exist or is a zombie."""
    try:
        # The fields follow the command name in parentheses, which may contain any character.
        state, *fields = (_PROC / str(process_id) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else fields[18]
