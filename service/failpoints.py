"""Failpoints: named points at which a test can kill the process. By default none is armed.

`CAMREEL_FAILPOINT=after-blob:kill@3` kills the process when it reaches the failpoint for the third
time. With `CAMREEL_FAILPOINT_MARK=<file>` this happens once among all processes: the first one
creates the file.
"""

import errno
import os
import signal
from pathlib import Path

from service.errors import InvalidValue, UnknownName

FAILPOINTS: dict[str, str] = {
    "before-encode": "the epoch is trained, nothing is written",
    "before-begin": "all bytes are encoded, no transaction is open",
    "after-advance": "the run's row is updated",
    "blob-temporary": "the temporary file of a blob exists and is empty",
    "blob-written": "its bytes are written, but may not be durable",
    "blob-fsynced": "its bytes are durable under the temporary name",
    "blob-renamed": "it is renamed, but the name may not be durable",
    "after-blob": "the checkpoint's bytes are stored",
    "after-state": "the training state's bytes and row are written",
    "after-epoch-row": "epoch, checkpoint and event are written",
    "after-maps": "the maps' rows are written",
    "before-commit": "everything is written, nothing is committed",
    "after-commit": "the epoch is committed, no client is notified",
}
"""All failpoints in order. Those of blobs are in `store/blobs/file.py`."""


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


ACTIONS = {"kill": _kill, "stop": _stop, "full": _full}

_armed: dict[str, tuple[str, int]] = {}
_reached_count: dict[str, int] = {}
_mark: list[Path] = []


def arm(text: str, mark: Path | None = None) -> None:
    """Arm the failpoint of `name:action@n`, and disarm all others; "" arms none.

    Raises InvalidValue for an unknown name or action.
    """
    _armed.clear()
    _reached_count.clear()
    _mark[:] = [mark] if mark else []
    if not text:
        return
    name, _, effect = text.partition(":")
    action, _, count = effect.partition("@")
    if name not in FAILPOINTS:
        raise UnknownName("failpoint", name, FAILPOINTS)
    if action not in ACTIONS:
        raise UnknownName("action", action, ACTIONS)
    if not (count or "1").isdecimal() or int(count or 1) < 1:
        raise InvalidValue("failpoint", "the count after @ is 1 or more")
    _armed[name] = (action, int(count or 1))


def reach(name: str) -> None:
    """Execute the action of the failpoint if it is armed and this is the n-th time."""
    if name not in _armed:
        return
    _reached_count[name] = _reached_count.get(name, 0) + 1
    action, count = _armed[name]
    if _reached_count[name] == count and _create_mark():
        ACTIONS[action]()


def _create_mark() -> bool:
    """Whether this process is the first one to fail."""
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
