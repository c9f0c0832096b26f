"""Calls every command that needs no server on a new database; fails at an import of FastAPI."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from service.cli import app, main

SERVER_COMMANDS = {"serve", "demo", "openapi"}
OWN_PROCESSES = {"import-checkpoints"}  # it runs in a process of its own
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
    "experiment start plan.json",
    "experiment list",
    "experiment show 1",
    "experiment report 1 --out experiment",
    "experiment cancel 1",
    "experiment resume 1",
    "experiment retry 1",
    "experiment delete 1 --yes",
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
# An unknown recipe; a run that has ended; files that do not exist; no run has failed.
MAY_FAIL = {"paper", "cancel", "dataset", "explain", "experiment retry"}
Path("plan.json").write_text('{"base": {"dataset": "digits", "epochs": 1}}')


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
assert names - called_names == SERVER_COMMANDS | OWN_PROCESSES, names - called_names
for line in CALLS:
    code = call(line.split())
    assert not code or MAY_FAIL & {line.split()[0], " ".join(line.split()[:2])}, (line, code)
    forbidden_modules = {"fastapi", "starlette", "uvicorn"} & set(sys.modules)
    assert not forbidden_modules, f"camreel {line} imports {forbidden_modules}"
