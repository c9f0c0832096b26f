"""On a database that accepts no writes, every command works or ends in one line."""

import shutil
from pathlib import Path

import pytest

from tests.cli.test_cli_values import COMMANDS, call, state
from tests.keeping.conftest import Place
from tests.read_only import read_only

__all__ = ["call", "state"]  # fixtures

# `serve` starts and says by /readyz that it cannot write: keeping/test_vitals.py.
ONLY_READ = {"blanks", "list", "audit", "runs", "doctor", "backup", "export", "upgrade"}
MAY_READ = {"cam", "maps", "report", "evaluate"}
"""What needs no write where the maps were recorded."""


@pytest.fixture
def locked(state: Place, tmp_path: Path) -> Path:
    """A copy of the state folder with its finished run."""
    folder = tmp_path / "locked"
    shutil.copytree(state.folder, folder)
    return folder


@pytest.mark.parametrize("whole_folder", [False, True], ids=["file", "folder"])
@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "serve"])
def test_a_command_on_a_read_only_database_works_or_ends_in_one_line(
    locked: Path, tmp_path: Path, monkeypatch, call, command: str, whole_folder: bool
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("CAMREEL_STATE_DIR", str(locked))
    arguments = COMMANDS[command]
    if command == "import":
        assert call("export", "1", "run.camreel")[0] == 0
        arguments = ["import", "run.camreel"]
    files = [locked / "camreel.db", *([locked] if whole_folder else [])]
    with read_only(*files):
        code, out, error = call(*arguments)
    assert "Traceback" not in out + error
    assert "sqlalchemy" not in (out + error).lower()
    if command in ONLY_READ:
        assert code == 0, error
    elif command not in MAY_READ or code:
        assert code == 1
        assert error.startswith("camreel: ")
        assert "\n" not in error.strip()
