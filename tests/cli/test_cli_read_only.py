"""On a read-only database every command works or fails with one line."""

import shutil
from pathlib import Path

import pytest

from tests.cli.test_cli_values import COMMANDS, call, state
from tests.keeping.conftest import StateFolder
from tests.read_only import read_only

__all__ = ["call", "state"]  # fixtures

# `serve` starts and reports in /readyz that it cannot write: keeping/test_vitals.py.
READ_ONLY_COMMANDS = {"blanks", "list", "audit", "runs", "doctor", "backup", "export", "upgrade"}
CACHED_READ_COMMANDS = {"cam", "maps", "report", "evaluate"}
"""Commands that need no write if the maps are already recorded."""


@pytest.fixture
def state_copy(state: StateFolder, tmp_path: Path) -> Path:
    """A copy of the state folder with its finished run."""
    folder = tmp_path / "locked"
    shutil.copytree(state.folder, folder)
    return folder


@pytest.mark.parametrize("whole_folder", [False, True], ids=["file", "folder"])
@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "serve"])
def test_command_on_read_only_database_works_or_fails_in_one_line(
    state_copy: Path, tmp_path: Path, monkeypatch, call, command: str, whole_folder: bool
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("CAMREEL_STATE_DIR", str(state_copy))
    arguments = COMMANDS[command]
    if command == "import":
        assert call("export", "1", "run.camreel")[0] == 0
        arguments = ["import", "run.camreel"]
    files = [state_copy / "camreel.db", *([state_copy] if whole_folder else [])]
    with read_only(*files):
        code, stdout, stderr = call(*arguments)
    assert "Traceback" not in stdout + stderr
    assert "sqlalchemy" not in (stdout + stderr).lower()
    if command in READ_ONLY_COMMANDS:
        assert code == 0, stderr
    elif command not in CACHED_READ_COMMANDS or code:
        assert code == 1
        assert stderr.startswith("camreel: ")
        assert "\n" not in stderr.strip()
