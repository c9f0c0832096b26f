"""Commands that maintain the store."""

import json
from pathlib import Path

import pytest

from service.cli import main
from tests.keeping.conftest import StateFolder, train


@pytest.fixture
def run_command(tmp_path, monkeypatch, capsys):
    """Calls a command on a state folder that has a run; returns its exit status and output."""
    state_folder = StateFolder(tmp_path / "state", "sql")
    train(state_folder)

    def call(*arguments: str) -> tuple[int, str]:
        command = ["camreel", *arguments, "--state-dir", str(state_folder.folder)]
        monkeypatch.setattr("sys.argv", command)
        with pytest.raises(SystemExit) as exit_info:
            main()
        code = exit_info.value.code
        stdout = capsys.readouterr().out
        return (code, stdout) if isinstance(code, int | None) else (1, f"{stdout}{code}")

    call.state_folder = state_folder
    return call


def test_export_import_backup_compact_and_doctor(run_command, tmp_path: Path):
    assert run_command("doctor") == (0, "No problems found.\n")
    assert run_command("export", "1", str(tmp_path / "run"))[0] == 0
    assert "Imported run 1 of" in run_command("import", str(tmp_path / "run"))[1]
    assert run_command("backup", str(tmp_path / "backup"))[0] == 0
    assert run_command("backup", str(tmp_path / "backup"))[0] == 1
    assert run_command("compact")[0] == 0
    run_command.state_folder.replace_checkpoint(2, b"bad")
    status, text = run_command("doctor", "--json")
    assert (status, json.loads(text)["findings"][0]["epoch"]) == (2, 2)
    status, text = run_command("doctor", "--repair")
    assert (status, text) == (
        1, "damage: checkpoints: run 1, epoch 2: its checkpoint is truncated [repaired]\n",
    )  # fmt: skip
