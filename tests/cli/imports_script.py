"""Calls every command that needs no server on a new database; fails at an import of FastAPI."""

import sys
from collections.abc import Iterator
from typing import Any

import typer

from service.cli import app, main

SERVER_COMMANDS = {"serve", "demo", "openapi"}
CALLS = [
    "train --set dataset=digits --set epochs=1 --set samples_per_epoch=30",
    "resume 1 --epochs 2",
    "runs",
    "cam 1 1",
    "explain photo.jpg --network torchvision:squeezenet1_1",
    "blanks 1",
    "maps 1 maps.npz --epochs 1",
    "report 1 --epochs 1",
    "findings 1",
    "evaluate 1 1 --measure complexity --json scores.json",
    "paper --recipe unknown",
    "doctor",
    "backup copy.db",
    "compact",
    "export 1 run.camreel",
    "import run.camreel",
    "cancel 1",
    "delete 1 --yes",
    "audit",
    "dataset list",
    "dataset report digits",
    "dataset add birds birds.zip",
    "dataset delete folder:birds",
    "db upgrade",
    "token create alice",
    "token list",
    "token revoke 1",
]
# An unknown recipe; a run that has ended; files that do not exist.
MAY_FAIL = {"paper", "cancel", "dataset", "explain"}


def command_names(command: Any, prefix: str = "") -> Iterator[str]:
    for name, child in getattr(command, "commands", {}).items():
        if getattr(child, "commands", None):
            yield from command_names(child, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}"


def call(arguments: list[str]) -> object:
    sys.argv = ["camreel", *arguments]
    try:
        main()
    except SystemExit as exit_error:
        return exit_error.code
    return None


names = set(command_names(typer.main.get_command(app)))
called_names = {name for name in names for line in CALLS if f"{line} ".startswith(f"{name} ")}
assert names - called_names == SERVER_COMMANDS, names - called_names
for line in CALLS:
    code = call(line.split())
    assert not code or line.split()[0] in MAY_FAIL, (line, code)
    forbidden_modules = {"fastapi", "starlette", "uvicorn"} & set(sys.modules)
    assert not forbidden_modules, f"camreel {line} imports {forbidden_modules}"
