"""Calls of `camreel`: in this process, where torch is imported already, or in a new one."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from service.cli import main
from tests.conftest import CAMREEL


def camreel(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Calls a command in this process, in the folder; `environment` is added to the settings."""
    streams = {name: io.TextIOWrapper(io.BytesIO(), "utf-8") for name in ("stdout", "stderr")}
    command = ["camreel", *arguments]
    with (
        contextlib.chdir(folder),
        mock.patch.dict(os.environ, _environment(environment), clear=True),
        mock.patch.multiple(sys, argv=command, **streams),
    ):
        try:
            main()
            status: object = 0
        except SystemExit as exit_:
            status = exit_.code
    if isinstance(status, str):  # Python prints it and exits with 1
        streams["stderr"].write(status + "\n")
        status = 1
    texts = {name: _text(stream) for name, stream in streams.items()}
    return subprocess.CompletedProcess(command, status, **texts)  # type: ignore[arg-type]


def camreel_process(
    folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Calls a command in a process of its own."""
    return subprocess.run(
        [CAMREEL, *arguments],
        cwd=folder,
        env=_environment(environment),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def error_line(folder: Path, *arguments: str) -> str:
    """The error of a command, which exits with that line and without a traceback."""
    with (
        contextlib.chdir(folder),
        mock.patch.object(sys, "argv", ["camreel", *arguments]),
        pytest.raises(SystemExit) as exit_,
    ):
        main()
    line = exit_.value.code
    assert isinstance(line, str), "Python prints it to standard error, and exits with 1"
    assert "\n" not in line
    return line


def _environment(settings: dict[str, str]) -> dict[str, str]:
    plain = {key: value for key, value in os.environ.items() if not key.startswith("CAMREEL_")}
    return plain | {"COLUMNS": "200"} | settings


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()
