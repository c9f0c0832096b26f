"""Judging maps without a service."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from service.api.resources.evaluation import (
    EvaluationParameters,
    EvaluationResponse,
    MeanResponse,
    evaluation_answer,
)
from service.cli.terminal import ValueTable, print_table
from service.errors import CamreelError
from service.files import check_output, write_file
from service.flows.services import open_services
from service.settings import Settings


def evaluate(
    settings: Settings, run: int, epoch: int, asked: dict[str, Any], out: Path | None
) -> None:
    """Print what the maps are worth, asked for as the API's parameters ask; write it as JSON."""
    given = {name: value for name, value in asked.items() if value is not None}
    try:
        parameters = EvaluationParameters.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise CamreelError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if out is not None:
        check_output(out)
    viewer = open_services(settings).viewer
    answer = evaluation_answer(parameters.evaluation(viewer, run, epoch).judge())
    print_table(_table(answer))
    if out is not None:
        write_file(out, f"{answer.model_dump_json(indent=1)}\n".encode())


def _table(answer: EvaluationResponse) -> ValueTable:
    which = f"run {answer.run_id}, epoch {answer.epoch}, {len(answer.images)} images"
    shown = ValueTable(title=f"Maps of {which}: mean ± standard error")
    for head in ("measure", "better", "method", "layer", "value", "random", "difference"):
        numeric = head in ("value", "random", "difference")
        shown.add_column(head, justify="right" if numeric else "left")
    for score in sorted(answer.scores, key=lambda score: score.measure):
        shown.add_values(
            score.measure,
            score.better,
            score.method,
            score.layer,
            _words(score.value),
            _words(score.random),
            _words(score.difference, "+"),
        )
    return shown


def _words(mean: MeanResponse, sign: str = "") -> str:
    if mean.mean is None:
        return "not finite"
    error = "" if mean.standard_error is None else f" ± {mean.standard_error:.2g}"
    return f"{mean.mean:{sign}.4g}{error}"
