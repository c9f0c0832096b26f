"""Places where a test has the process die: no-ops unless one is switched on.

`CAMREEL_FAILPOINT=after-blob:kill@3` kills at the third time that this process comes by. With
`CAMREEL_FAILPOINT_MARK=<file>` it happens once: the first makes the file, and no other fires.
"""

import errno
import os
import signal
from pathlib import Path

from service.errors import InvalidValue, UnknownName

FAILPOINTS: dict[str, str] = {
    "before-encode": "the epoch was trained, nothing is written",
    "before-begin": "all bytes are made, no transaction is open",
    "after-advance": "the run's row was changed",
    "blob-temporary": "a blob's temporary file is there and empty",
    "blob-written": "its bytes are written, perhaps not on disk",
    "blob-fsynced": "its bytes are on disk, under the temporary name",
    "blob-renamed": "it has its name, perhaps not on disk",
    "after-blob": "the checkpoint's bytes are kept",
    "after-state": "the training state's bytes and row are written",
    "after-epoch-row": "epoch, checkpoint and event are written",
    "after-maps": "the maps' rows are written",
    "before-commit": "all is written, nothing is committed",
    "after-commit": "the epoch is committed, nobody was told",
}
"""All of them, in their order; the ones of blobs are the file backend's."""


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


ACTIONS = {"kill": _kill, "stop": _stop, "full": _full}

_armed: dict[str, tuple[str, int]] = {}
_seen: dict[str, int] = {}
_mark: list[Path] = []


def arm(text: str, mark: Path | None = None) -> None:
    """Switch on what `name:action@n` says, in place of what was on; nothing for "".

    Raises InvalidValue for words that stand in no table.
    """
    _armed.clear()
    _seen.clear()
    _mark[:] = [mark] if mark else []
    if not text:
        return
    name, _, rest = text.partition(":")
    action, _, count = rest.partition("@")
    if name not in FAILPOINTS:
        raise UnknownName("failpoint", name, FAILPOINTS)
    if action not in ACTIONS:
        raise UnknownName("action", action, ACTIONS)
    if not (count or "1").isdecimal() or int(count or 1) < 1:
        raise InvalidValue("failpoint", "the count after @ is 1 or more")
    _armed[name] = (action, int(count or 1))


def reach(name: str) -> None:
    """The process is at that place now."""
    if name not in _armed:
        return
    _seen[name] = _seen.get(name, 0) + 1
    action, count = _armed[name]
    if _seen[name] == count and _first():
        ACTIONS[action]()


def _first() -> bool:
    for mark in _mark:
        try:
            mark.touch(exist_ok=False)
        except FileExistsError:
            return False
    return True


def _arm_from_environment() -> None:
    mark = os.environ.get("CAMREEL_FAILPOINT_MARK")
    arm(os.environ.get("CAMREEL_FAILPOINT", ""), Path(mark) if mark else None)


_arm_from_environment()
