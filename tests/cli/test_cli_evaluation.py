"""Judging maps from the command line."""

import json
from pathlib import Path

import pytest

from service.api.resources.evaluation import EvaluationResponse
from tests.cli.test_cli_commands import camreel, refusal

# Two threads for tensors this small take longer than one, most of all beside other tests.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def test_maps_are_judged_into_a_table_and_a_file(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(
        '{"dataset": "digits", "samples_per_epoch": 200, "epochs": 1,'
        ' "architecture": {"channels": [4, 6], "hidden_units": 12}}'
    )
    assert camreel(tmp_path, "train", "spec.json", **ONE_THREAD).returncode == 0
    done = camreel(
        tmp_path, "evaluate", "1", "1", "--method", "layer-cam/centered", "--method", "proposed",
        "--measure", "insertion", "--measure", "complexity", "--images", "5",
        "--json", "table.json", **ONE_THREAD,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "run 1, epoch 1, 5 images" in done.stdout
    assert done.stdout.count("layer-cam/centered") == 2
    table = json.loads((tmp_path / "table.json").read_text())
    assert [(score["method"], score["measure"]) for score in table["scores"]] == [
        (method, measure)
        for method in ("layer-cam/centered", "proposed")
        for measure in ("insertion", "complexity")
    ]
    assert EvaluationResponse.model_validate(table).model_dump() == table


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "7", "0"], "There is no run 7"),
        (["evaluate", "7", "0", "--images", "2000"], "images: "),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    assert words in refusal(tmp_path, monkeypatch, *arguments)
