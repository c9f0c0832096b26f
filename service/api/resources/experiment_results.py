"""Results of experiments: comparison, matrix, report, table."""

import base64
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from service.api.expensive import RESPONSES, Respond
from service.api.resources.csv_exports import CSV, attachment, to_csv
from service.api.resources.experiments import ExperimentId
from service.api.scopes import requires
from service.api.services import Services
from service.api.work import ExpensiveRequest, Representation
from service.core.cams.methods import PAPER_METHODS
from service.core.experiments.alignment import MAX_COLUMNS, Alignment
from service.core.experiments.marginals import Marginal, NoiseSource
from service.core.experiments.measures import RUN_MEASURES
from service.flows.experiment_matrix import (
    DEFAULT_METHOD,
    MAP_SIDE,
    Matrix,
    MatrixCell,
    MatrixQuery,
)
from service.flows.experiment_results import BestSetting, compare_settings, run_table
from service.flows.experiments import parse_plan
from service.report.experiment_matrix import render_experiment_matrix
from service.report.experiment_report import experiment_report
from service.store.tokens import READ

router = APIRouter(prefix="/experiments/{experiment_id}", tags=["experiments"])

Align = Annotated[
    Alignment,
    Query(
        description="What the compared epochs have in common: the `epoch`, the number of training "
        "`images` seen, or the `loss` on the test images."
    ),
]
MeasureName = Annotated[
    str,
    Query(
        max_length=100,
        description="A measure of the experiment.",
        json_schema_extra={"enum": list(RUN_MEASURES)},
    ),
]


class MarginalMeanResponse(BaseModel):
    """A value of a field, or [lowest, highest] of a group of sampled numbers."""

    value: JsonValue
    settings: int
    runs: int
    mean: float = Field(description="Mean over the settings of the means over their seeds.")


class DifferenceResponse(BaseModel):
    """The difference of two means: `second` less `first`, positions in `means`."""

    first: int
    second: int
    difference: float
    band: float | None = Field(description="The largest difference that is noise; null: unknown.")
    is_noise: bool | None


class MarginalResponse(BaseModel):
    """A measure by the values of a field."""

    field: str
    measure: str
    means: list[MarginalMeanResponse]
    differences: list[DifferenceResponse]
    noise_deviation: float | None = Field(
        description="Standard deviation between runs that differ in their seed alone, or between "
        "settings of one value; null if there is nothing to estimate it from."
    )
    noise_source: NoiseSource | None
    settings_left_out: int = Field(
        description="Settings of a grid whose counterparts of another value have no result."
    )


class BestSettingResponse(BaseModel):
    """The setting with the best mean of a measure."""

    measure: str
    parameters: dict[str, JsonValue]
    run_ids: list[int]
    mean: float
    indistinguishable: list[dict[str, JsonValue]] | None = Field(
        description="Settings whose difference from it is noise; null if each has one run."
    )


class ComparisonResponse(BaseModel):
    """Settings compared by their runs that succeeded, at the last column that they share."""

    align: Alignment
    column: float | None = Field(
        description="Epoch, images seen or test loss; null if there is nothing to compare."
    )
    runs_compared: int
    marginals: list[MarginalResponse]
    best: list[BestSettingResponse]


@router.get("/comparison", summary="Compare the settings of an experiment")
@requires(READ)
def read_comparison(
    services: Services, experiment_id: ExperimentId, align: Align = Alignment.EPOCH
) -> ComparisonResponse:
    """Marginal means of each measure per value of each field, with noise, and the best settings."""
    comparison = services.experiment_results.compare(experiment_id, align)
    return ComparisonResponse(
        align=align,
        column=comparison.column.value if comparison.column else None,
        runs_compared=comparison.run_count,
        marginals=[
            _marginal(path, name, marginal)
            for path, by_measure in comparison.marginals.items()
            for name, marginal in by_measure.items()
        ],
        best=[_best(name, best) for name, best in comparison.best.items()],
    )


@router.get(
    "/report.md",
    summary="Report of an experiment, as Markdown",
    response_class=Response,
    responses={200: {"content": {"text/markdown": {"schema": {"type": "string"}}}}},
)
@requires(READ)
def read_report(
    services: Services,
    experiment_id: ExperimentId,
    measure: MeasureName = "test_accuracy",
    align: Align = Alignment.EPOCH,
) -> Response:
    """The best setting and why, marginal means with their noise, and all runs."""
    experiment, rows = services.experiment_results.get(experiment_id)
    plan = parse_plan(experiment)
    comparison = compare_settings(plan, rows, align)
    picture = "matrix" if plan.paths else None
    text = experiment_report(experiment, rows, comparison, measure, picture)
    headers = attachment(f"experiment-{experiment_id}-report.md")
    return Response(text, media_type="text/markdown", headers=headers)


@router.get(
    "/runs.csv",
    summary="Runs of an experiment, as CSV",
    response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
@requires(READ)
def read_runs_csv(services: Services, experiment_id: ExperimentId) -> Response:
    """A row per run: its setting, seed, status, and the measures of its last epoch."""
    experiment, rows = services.experiment_results.get(experiment_id)
    content = to_csv(*run_table(parse_plan(experiment).paths, rows))
    return Response(
        content, media_type=CSV, headers=attachment(f"experiment-{experiment_id}-runs.csv")
    )


class MatrixParameters(BaseModel):
    """Parameters of a matrix."""

    model_config = ConfigDict(extra="forbid")

    field: str | None = Field(
        None,
        max_length=200,
        description="Dotted path of the field whose values are the rows. Default: the first.",
    )
    align: Alignment = Field(
        Alignment.EPOCH, description="What the columns are: `epoch`, `images` seen or test `loss`."
    )
    columns: int = Field(8, ge=1, le=MAX_COLUMNS, description="Number of columns, evenly spaced.")
    method: str = Field(
        DEFAULT_METHOD,
        max_length=100,
        description="A method whose maps every run records.",
        json_schema_extra={"enum": list(PAPER_METHODS)},
    )
    class_index: int = Field(
        0, ge=0, le=100_000, description="The class of the probes whose maps are averaged."
    )
    image: str | None = Field(
        None, max_length=80, description="One probe, as in `test:7`, instead of a class."
    )
    measure: str = Field(
        "test_accuracy",
        max_length=100,
        description="The measure of the tint.",
        json_schema_extra={"enum": list(RUN_MEASURES)},
    )

    def query(self, experiment_id: int) -> MatrixQuery:
        """The query of these parameters."""
        return MatrixQuery(
            experiment_id,
            self.field,
            self.align,
            self.columns,
            self.method,
            self.class_index,
            self.image,
            self.measure,
        )


class MatrixPictureParameters(MatrixParameters):
    """Parameters of a matrix' picture."""

    size: int = Field(84, ge=28, le=224, description="Side of a cell in pixels.")


class MatrixCellResponse(BaseModel):
    """Means over the runs of a row that reach a column."""

    run_epochs: dict[int, int] = Field(description="The epoch of each run, by run id.")
    maps: int = Field(description="Number of maps, blank ones included.")
    blank: int = Field(description="Blank maps, which count as zero.")
    levels: str | None = Field(
        description="The mean map as base64 of `side` x `side` bytes, 255 for 1, each map at the "
        "scale of its own peak; null if there is none, or all are blank."
    )
    measure: float | None


class MatrixRowResponse(BaseModel):
    """A value of the field, or [lowest, highest] of a group of samples."""

    value: JsonValue
    run_ids: list[int]
    cells: list[MatrixCellResponse]


class MatrixResponse(BaseModel):
    """Mean maps by the value of a field and over the epochs."""

    field: str
    align: Alignment
    method: str
    measure: str
    class_name: str = Field(description="The class or image whose maps are averaged.")
    side: int
    image: str = Field(description="Mean of the probes, base64 of `side` x `side` RGB bytes.")
    columns: list[float] = Field(description="Epochs, numbers of images, or test losses.")
    rows: list[MatrixRowResponse]


@router.get(
    "/matrix",
    summary="Matrix of an experiment, as PNG",
    response_class=Response,
    responses={
        200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
        **RESPONSES,
    },
)
@requires(READ)
async def read_matrix(
    respond: Respond,
    experiment_id: ExperimentId,
    parameters: Annotated[MatrixPictureParameters, Query()],
) -> Response:
    """A row per value of a field, a column per epoch: mean maps, framed by a measure."""
    size = parameters.size

    def represent() -> Representation[Matrix]:
        deferred = respond.services.matrices.matrix(parameters.query(experiment_id))
        return Representation(
            deferred,
            "image/png",
            lambda matrix: render_experiment_matrix(matrix, size),
            variant=str(size),
            cache=respond.services.answers,
        )

    return await respond(ExpensiveRequest("matrix", represent))


@router.get(
    "/matrix.json",
    summary="Matrix of an experiment, as JSON",
    response_model=MatrixResponse,
    responses=RESPONSES,
)
@requires(READ)
async def read_matrix_json(
    respond: Respond, experiment_id: ExperimentId, parameters: Annotated[MatrixParameters, Query()]
) -> Response:
    """The mean maps as 8-bit levels, and the runs and epochs that each is the mean of."""

    def represent() -> Representation[Matrix]:
        deferred = respond.services.matrices.matrix(parameters.query(experiment_id))
        return Representation(
            deferred,
            "application/json",
            lambda matrix: _matrix(matrix).model_dump_json().encode(),
            variant="json",
            cache=respond.services.answers,
        )

    return await respond(ExpensiveRequest("matrix", represent))


def _matrix(matrix: Matrix) -> MatrixResponse:
    return MatrixResponse(
        field=matrix.field,
        align=matrix.query.alignment,
        method=matrix.query.method,
        measure=matrix.query.measure,
        class_name=matrix.class_name,
        side=MAP_SIDE,
        image=base64.b64encode(matrix.image.tobytes()).decode(),
        columns=[column.value for column in matrix.columns],
        rows=[
            MatrixRowResponse(
                value=row.value, run_ids=row.run_ids, cells=list(map(_matrix_cell, row.cells))
            )
            for row in matrix.rows
        ],
    )


def _matrix_cell(cell: MatrixCell) -> MatrixCellResponse:
    levels = None
    if cell.mean is not None:
        rounded = np.rint(cell.mean.clip(0, 1) * 255).astype(np.uint8)
        levels = base64.b64encode(rounded.tobytes()).decode()
    return MatrixCellResponse(
        run_epochs=cell.run_epochs,
        maps=cell.map_count,
        blank=cell.blank_count,
        levels=levels,
        measure=cell.measure,
    )


def _marginal(path: str, name: str, marginal: Marginal) -> MarginalResponse:
    noise = marginal.noise
    return MarginalResponse(
        field=path,
        measure=name,
        means=[
            MarginalMeanResponse(
                value=mean.value, settings=mean.settings, runs=mean.runs, mean=mean.mean
            )
            for mean in marginal.means
        ],
        differences=[
            DifferenceResponse(
                first=pair.first,
                second=pair.second,
                difference=pair.difference,
                band=pair.band,
                is_noise=pair.is_noise,
            )
            for pair in marginal.comparisons
        ],
        noise_deviation=noise.deviation if noise else None,
        noise_source=noise.source if noise else None,
        settings_left_out=marginal.left_out,
    )


def _best(name: str, best: BestSetting) -> BestSettingResponse:
    return BestSettingResponse(
        measure=name,
        parameters=best.setting,
        run_ids=best.run_ids,
        mean=best.mean,
        indistinguishable=best.indistinguishable,
    )
