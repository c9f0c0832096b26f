"""Evaluation of maps on the command line."""

import json
from pathlib import Path

import pytest

from service.api.resources.evaluation import EvaluationResponse
from tests.cli.commands import camreel, error_line


def test_evaluate_prints_table_and_writes_json_of_the_api(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(
        '{"dataset": "digits", "samples_per_epoch": 200, "epochs": 1,'
        ' "architecture": {"channels": [4, 6], "hidden_units": 12}}'
    )
    assert camreel(tmp_path, "train", "spec.json").returncode == 0
    process = camreel(
        tmp_path, "evaluate", "1", "1", "--method", "layer-cam/centered", "--method", "proposed",
        "--measure", "insertion", "--measure", "complexity", "--images", "5",
        "--json", "table.json",
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert "run 1, epoch 1, 5 images" in process.stdout
    assert process.stdout.count("layer-cam/centered") == 2
    table = json.loads((tmp_path / "table.json").read_text())
    assert [(score["method"], score["measure"]) for score in table["scores"]] == [
        (method, measure)
        for method in ("layer-cam/centered", "proposed")
        for measure in ("insertion", "complexity")
    ]
    assert EvaluationResponse.model_validate(table).model_dump() == table


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "7", "0"], "There is no run 7"),
        (["evaluate", "7", "0", "--images", "2000"], "images: "),
    ],
)
def test_error_is_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    assert message in error_line(tmp_path, *arguments)
