"""The commands of experiments, on a database that no service uses."""

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service.cli import main
from service.settings import Settings
from service.store import experiments
from service.store.run_status import RunStatus
from service.store.store import open_store
from tests.experiments.conftest import GRID, RATE


@pytest.fixture
def camreel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., object]:
    """Calls a command in this process; returns its exit status or its error line."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> object:
        monkeypatch.setattr(sys, "argv", ["camreel", "experiment", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        return exit_.value.code

    return call


def write_plan(**changes: object) -> str:
    Path("plan.json").write_text(json.dumps(GRID | changes))
    return "plan.json"


def statuses() -> dict[RunStatus, int]:
    settings = Settings()
    with (
        open_store(settings.database, settings.blobs) as store,
        store.read_session() as session,
    ):
        return experiments.count_runs(session, [1])[1].by_status


def test_experiment_is_started_listed_cancelled_resumed_and_deleted(camreel, capsys) -> None:
    assert camreel("start", write_plan(), "--dry-run") == 0
    assert "4 settings, 8 runs" in capsys.readouterr().out
    assert camreel("start", write_plan()) == 0
    assert "Experiment 1: 8 runs are queued" in capsys.readouterr().out
    assert statuses() == {RunStatus.QUEUED: 8}

    assert camreel("list") == 0
    assert "8 queued" in capsys.readouterr().out
    assert camreel("show", "1", "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row[RATE] for row in rows] == ["0.1", "0.1", "1.0", "1.0"] * 2
    assert camreel("show", "1") == 0

    assert camreel("cancel", "1") == 0
    assert statuses() == {RunStatus.CANCELLED: 8}
    assert camreel("resume", "1") == 0
    assert statuses() == {RunStatus.QUEUED: 8}
    assert "no run that failed" in str(camreel("retry", "1"))

    assert camreel("delete", "1") == "camreel: Deletion cannot be undone. Confirm it with --yes."
    assert camreel("delete", "1", "--yes") == 0
    assert "no experiment 1" in str(camreel("show", "1"))


def test_invalid_plan_is_one_line_that_names_the_field(camreel) -> None:
    plan = write_plan(fields={RATE: {"values": [-1]}})
    assert str(camreel("start", plan)).startswith(f"camreel: fields.{RATE}: must be a number")
    assert "seeds: must be a list" in str(camreel("start", write_plan(seeds=[])))
    Path("plan.json").write_text("{")
    assert "cannot be read as JSON" in str(camreel("start", "plan.json"))


def test_report_is_written_before_any_run_has_succeeded(camreel) -> None:
    assert camreel("start", write_plan()) == 0
    assert camreel("report", "1", "--out", "report") == 0
    text = Path("report/report.md").read_text()
    assert "No run has succeeded yet" in text
    assert Path("report/matrix.png").stat().st_size > 0
