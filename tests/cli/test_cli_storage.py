"""The commands that look after a store."""

import json
from pathlib import Path

import pytest

from service.cli import main
from tests.keeping.conftest import Place, train


@pytest.fixture
def said(tmp_path, monkeypatch, capsys):
    """Calls a command on a state folder that has a run; its exit status and what it said."""
    place = Place(tmp_path / "state", "sql")
    train(place)

    def call(*arguments: str) -> tuple[int, str]:
        command = ["camreel", *arguments, "--state-dir", str(place.folder)]
        monkeypatch.setattr("sys.argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        out = capsys.readouterr().out
        return (code, out) if isinstance(code, int | None) else (1, f"{out}{code}")

    call.place = place
    return call


def test_a_run_goes_out_and_in_and_the_store_is_looked_after(said, tmp_path: Path):
    assert said("doctor") == (0, "No problems found.\n")
    assert said("export", "1", str(tmp_path / "run"))[0] == 0
    assert "Imported run 1 of" in said("import", str(tmp_path / "run"))[1]
    assert said("backup", str(tmp_path / "backup"))[0] == 0
    assert said("backup", str(tmp_path / "backup"))[0] == 1
    assert said("compact")[0] == 0
    said.place.put(2, b"bad")
    status, text = said("doctor", "--json")
    assert (status, json.loads(text)["findings"][0]["epoch"]) == (2, 2)
    status, text = said("doctor", "--repair")
    assert (status, text) == (
        1, "damage: checkpoints: run 1, epoch 2: its checkpoint is truncated [repaired]\n",
    )  # fmt: skip
