"""Evaluation of maps without a service."""

import json
import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from service.cli.terminal import ValueTable, print_table
from service.core.cams.methods import PAPER_METHODS
from service.core.measures.evaluation import Mean, MeasureResult
from service.core.measures.measures import DEFAULT_MEASURES
from service.counts import Count
from service.files import check_output, write_file
from service.flows.maps.evaluation import Evaluation, evaluation
from service.flows.services import open_services
from service.settings import Settings

NUMERIC_COLUMNS = ("value", "random", "difference")


def evaluate(
    settings: Settings,
    run: int,
    epoch: int,
    *,
    methods: Sequence[str] | None,
    measures: Sequence[str] | None,
    layer: str | None,
    image_count: int | None,
    seed: int,
    output: Path | None,
) -> None:
    """Print the scores as a table; write them to `output` as JSON, as the API returns them."""
    if output is not None:
        check_output(output)
    with closing(open_services(settings).pipeline) as pipeline:
        deferred = evaluation(
            pipeline,
            run,
            epoch,
            methods or PAPER_METHODS,
            measures or DEFAULT_MEASURES,
            layer=layer,
            image_count=image_count,
            seed=seed,
        )
        results = deferred.compute().value
    print_table(_table(results))
    if output is not None:
        write_file(output, f"{json.dumps(_document(results), indent=1)}\n".encode())


def _table(results: Evaluation) -> ValueTable:
    images = Count(len(results.images))
    title = f"Maps of run {results.run_id}, epoch {results.epoch}, {images:image|images}"
    table = ValueTable(title=f"{title}: mean ± standard error")
    for header in ("measure", "better", "method", "layer", *NUMERIC_COLUMNS):
        table.add_column(header, justify="right" if header in NUMERIC_COLUMNS else "left")
    for score in sorted(results.scores, key=lambda score: score.measure.name):
        table.add_values(
            score.measure.name,
            score.measure.better_direction,
            score.method,
            score.layer,
            _format_mean(score.value),
            _format_mean(score.random),
            _format_mean(score.difference, "+"),
        )
    return table


def _format_mean(mean: Mean, sign: str = "") -> str:
    if not math.isfinite(mean.mean):
        return "not finite"
    error = mean.standard_error
    suffix = "" if error is None or not math.isfinite(error) else f" ± {error:.2g}"
    return f"{mean.mean:{sign}.4g}{suffix}"


def _document(results: Evaluation) -> dict[str, object]:
    """The response of `GET /runs/{run_id}/epochs/{epoch}/evaluation`."""
    return {
        "run_id": results.run_id,
        "epoch": results.epoch,
        "images": results.images,
        "seed": results.seed,
        "scores": [_score_document(score) for score in results.scores],
    }


def _score_document(score: MeasureResult) -> dict[str, object]:
    return {
        "method": score.method,
        "layer": score.layer,
        "measure": score.measure.name,
        "better": score.measure.better_direction,
        "count": score.count,
        "value": _mean_document(score.value),
        "random": _mean_document(score.random),
        "difference": _mean_document(score.difference),
    }


def _mean_document(mean: Mean) -> dict[str, float | None]:
    """None for a value that JSON cannot represent."""
    error = mean.standard_error
    return {
        "mean": mean.mean if math.isfinite(mean.mean) else None,
        "standard_error": error if error is not None and math.isfinite(error) else None,
    }
