"""Files and folders that are read-only, even for root."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest


@contextmanager
def read_only(*paths: Path) -> Iterator[None]:
    """Make paths read-only within a block.

    For a normal user by their modes. Root ignores modes: by the immutable attribute or, if the
    file system has none, by a read-only bind mount. Skips the test if none of these works.
    """
    with ExitStack() as stack:
        for path in paths:
            stack.callback(_lock_by_mode(path) if os.geteuid() else _lock_for_root(path))
        yield


def _lock_by_mode(path: Path) -> Callable[[], object]:
    mode = path.stat().st_mode & 0o777
    path.chmod(mode & ~0o222)
    return partial(path.chmod, mode)


def _lock_for_root(path: Path) -> Callable[[], object]:
    if shutil.which("chattr") and _succeeds("chattr", "+i", str(path)):
        return partial(_succeeds, "chattr", "-i", str(path))
    if shutil.which("mount") and _succeeds("mount", "--bind", "-o", "ro", str(path), str(path)):
        return partial(_succeeds, "umount", str(path))
    pytest.skip("neither chattr +i nor a read-only bind mount makes a path read-only for root here")


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
