"""The README's example, as it stands."""

import re
from pathlib import Path

import pytest
from camreel.spool import Spool, list_spools
from fastapi.testclient import TestClient

from service.flows.spools import import_spool

README = Path(__file__).parents[2] / "README.md"


def test_example_of_the_readme_learns_and_is_recorded(
    tmp_path: Path,
    client: TestClient,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    section = README.read_text(encoding="utf-8").split("## Watch your own network")[1]
    (example,) = re.findall(r"```python\n(.*?)```", section.split("\n## ")[0], flags=re.DOTALL)
    for name in ("CAMREEL_URL", "CAMREEL_TOKEN", "CAMREEL_SPOOL_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    assert "5 epochs recorded, 5 to be sent" in capsys.readouterr().out
    (folder,) = list_spools(tmp_path / "camreel-spool")
    assert import_spool(client.app.state.services.recordings, database, folder) == 1
    run = client.get("/runs/1").json()
    assert (run["status"], run["name"], run["epochs_done"]) == ("succeeded", "squares", 4)
    assert client.get("/runs/1/epochs/4").json()["test_accuracy"] > 0.9
    sheet = client.get("/runs/1/sheet?method=proposed")
    assert (sheet.status_code, sheet.headers["content-type"]) == (200, "image/png")
    assert Spool(folder).service()["run_id"] == 1
