"""Names of server processes, by which others on the same machine see at once that one has died."""

import hashlib
import os
import secrets
from pathlib import Path

_PROC = Path("/proc")


def server_name() -> str:
    """A name for this process that no other has, of at most 64 characters."""
    start_ticks = _start_ticks(os.getpid()) or "-"
    return f"{_host_id() or '-'}:{os.getpid()}:{start_ticks}:{secrets.token_hex(8)}"


def is_dead(name: str) -> bool:
    """Whether the process of that name has surely ended; False for one of another machine."""
    machine, process_id, start_ticks, *_ = [*name.split(":"), "", ""]
    if not process_id.isdecimal() or machine == "-" or machine != _host_id():
        return False
    return _start_ticks(int(process_id)) != start_ticks


def _host_id() -> str | None:
    """What tells this boot and this container's processes from all others; None if unknown."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text()
        namespace = (_PROC / "self/ns/pid").readlink()
    except OSError:
        return None
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:16]


def _start_ticks(process_id: int) -> str | None:
    """When the process started, in ticks since the boot; None where there is none, or a zombie."""
    try:
        # Behind the command's name, which may hold anything: the state is first.
        state, *fields = (_PROC / str(process_id) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else fields[18]
