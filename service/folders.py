"""Folders that settings name: checked before anything is done in them."""

import stat
from pathlib import Path

from service.errors import InvalidValue


def check_folder(folder: Path, setting: str) -> bool:
    """Whether the folder exists. Raises InvalidValue, for the setting, where none can be there."""
    try:
        if not stat.S_ISDIR(folder.stat().st_mode):
            raise InvalidValue(setting, f"{folder} is not a folder")
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:  # ValueError: a zero byte in it
        raise path_error(setting, folder, "cannot be used", error) from error
    return True


def make_folder(folder: Path, setting: str) -> bool:
    """Create a folder, and those above it, where it is missing; whether it was.

    Raises InvalidValue, for the setting or option, where it cannot be made.
    """
    if check_folder(folder, setting):
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise path_error(setting, folder, "cannot be created", error) from error
    return True


def make_private_folder(folder: Path, setting: str) -> None:
    """As `make_folder`: for its owner alone, whatever the umask. One that exists keeps its mode."""
    if check_folder(folder, setting):
        return
    make_folder(folder.parent, setting)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)  # whatever the umask left of it
    except OSError as error:
        raise path_error(setting, folder, "cannot be created", error) from error


def path_error(setting: str, path: Path, verb: str, error: OSError | ValueError) -> InvalidValue:
    """What the system says of a path, as an error of the setting that names it."""
    return InvalidValue(setting, f"{path} {verb}: {getattr(error, 'strerror', None) or error}")
