"""Folders that settings name: checked before use, with errors that name the setting."""

import stat
from pathlib import Path

from service.errors import InvalidValue


def check_folder(folder: Path, setting: str) -> bool:
    """Whether the folder exists. Raises InvalidValue for the setting if there cannot be one."""
    try:
        if not stat.S_ISDIR(folder.stat().st_mode):
            raise InvalidValue(setting, f"{folder} is not a folder")
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:  # ValueError: it contains a null byte
        raise path_error(setting, folder, "cannot be used", error) from error
    return True


def make_folder(folder: Path, setting: str) -> bool:
    """Create a folder and its parents if it is missing; whether it was.

    Raises InvalidValue for the setting or option if it cannot be created.
    """
    if check_folder(folder, setting):
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise path_error(setting, folder, "cannot be created", error) from error
    return True


def make_private_folder(folder: Path, setting: str) -> None:
    """As `make_folder`, accessible by its owner only. An existing folder keeps its mode."""
    if check_folder(folder, setting):
        return
    make_folder(folder.parent, setting)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)  # regardless of the umask
    except OSError as error:
        raise path_error(setting, folder, "cannot be created", error) from error


def path_error(setting: str, path: Path, verb: str, error: OSError | ValueError) -> InvalidValue:
    """An error of the operating system as InvalidValue of the setting that names the path."""
    return InvalidValue(setting, f"{path} {verb}: {getattr(error, 'strerror', None) or error}")
