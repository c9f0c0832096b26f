"""Evaluation of methods by measures."""

import math
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from service.api.expensive import RESPONSES, Respond
from service.api.numbers import finite_or_none
from service.api.pagination import EpochNumber, Page, RunId
from service.api.scopes import requires
from service.api.work import ExpensiveRequest, Representation
from service.core.cams.methods import PAPER_METHODS
from service.core.measures.evaluation import Mean, MeasureResult
from service.core.measures.measures import DEFAULT_MEASURES, MEASURES
from service.flows.maps.deferred import Deferred
from service.flows.maps.evaluation import MAX_IMAGES, Evaluation, evaluation
from service.flows.maps.pipeline import MapPipeline
from service.store.tokens import READ

router = APIRouter(tags=["measures"])

MethodText = Annotated[str, Field(max_length=100)]
MeasureName = Annotated[str, Field(max_length=100, json_schema_extra={"enum": list(MEASURES)})]


class EvaluationParameters(BaseModel):
    """Methods, measures and images of an evaluation."""

    model_config = ConfigDict(extra="forbid")

    method: list[MethodText] = Field(
        list(PAPER_METHODS),
        min_length=1,
        max_length=10,
        description="Methods, as in `method=proposed&method=layer-cam/centered`.",
    )
    measure: list[MeasureName] = Field(
        list(DEFAULT_MEASURES),
        min_length=1,
        max_length=len(MEASURES),
        description="Names from `GET /measures`; repeatable.",
    )
    layer: str | None = Field(
        None,
        max_length=100,
        description="As for a map: `conv2`, or several, `conv1,conv2`. Default: the method's.",
    )
    images: int | None = Field(
        None,
        ge=1,
        le=MAX_IMAGES,
        description="Use the first N test images of the dataset. Default: the run's probes.",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Random seed.")

    def evaluation(self, pipeline: MapPipeline, run_id: int, epoch: int) -> Deferred[Evaluation]:
        """The evaluation of these parameters."""
        return evaluation(
            pipeline,
            run_id,
            epoch,
            self.method,
            self.measure,
            layer=self.layer,
            image_count=self.images,
            seed=self.seed,
        )


class MeasureResponse(BaseModel):
    """A measure of the quality of maps."""

    name: str
    title: str
    description: str
    formula: str
    source: str
    year: int
    range: tuple[float, float | None] = Field(description="Lowest and highest; null: unbounded.")
    better: Literal["higher", "lower"]


class MeanResponse(BaseModel):
    """A mean over the images."""

    mean: float | None = Field(description="Null if a map or a value is not finite.")
    standard_error: float | None = Field(description="Null for a single image as well.")


class ScoreResponse(BaseModel):
    """A method's value for a measure, compared with a random map."""

    method: str
    layer: str
    measure: str
    better: Literal["higher", "lower"]
    count: int = Field(description="Number of images.")
    value: MeanResponse
    random: MeanResponse = Field(description="Value of the method `random` at the same layer.")
    difference: MeanResponse = Field(description="`value` minus `random`, per image.")


class EvaluationResponse(BaseModel):
    """Values of methods for measures at one epoch."""

    run_id: int
    epoch: int
    images: list[str] = Field(description="Image references; each is evaluated for its label.")
    seed: int
    scores: list[ScoreResponse]


@router.get("/measures", summary="List measures")
@requires(READ)
def list_measures() -> Page[MeasureResponse]:
    """All measures of the quality of maps."""
    items = [
        MeasureResponse(
            name=measure.name,
            title=measure.title,
            description=measure.description,
            formula=measure.formula,
            source=measure.source,
            year=measure.year,
            range=measure.range,
            better=measure.better_direction,
        )
        for measure in MEASURES.values()
    ]
    return Page(items=items, next=None)


@router.get(
    "/runs/{run_id}/epochs/{epoch}/evaluation",
    summary="Evaluate methods",
    responses=RESPONSES,
    response_model=EvaluationResponse,
)
@requires(READ)
async def read_evaluation(
    respond: Respond,
    run_id: RunId,
    epoch: EpochNumber,
    query: Annotated[EvaluationParameters, Query()],
) -> Response:
    """Each method by each measure, compared with a random map. Computed on request."""
    services = respond.services

    def represent() -> Representation[Evaluation]:
        return Representation(
            query.evaluation(services.pipeline, run_id, epoch),
            "application/json",
            lambda value: evaluation_response(value).model_dump_json().encode(),
            cache=services.answers,
        )

    return await respond(ExpensiveRequest("evaluation", represent, methods=query.method))


def evaluation_response(value: Evaluation) -> EvaluationResponse:
    """The evaluation as a response; also the format of the command line's file."""
    return EvaluationResponse(
        run_id=value.run_id,
        epoch=value.epoch,
        images=value.images,
        seed=value.seed,
        scores=[_score(score) for score in value.scores],
    )


def _score(score: MeasureResult) -> ScoreResponse:
    return ScoreResponse(
        method=score.method,
        layer=score.layer,
        measure=score.measure.name,
        better=score.measure.better_direction,
        count=score.count,
        value=_mean(score.value),
        random=_mean(score.random),
        difference=_mean(score.difference),
    )


def _mean(mean: Mean) -> MeanResponse:
    error = math.nan if mean.standard_error is None else mean.standard_error
    value, standard_error = finite_or_none([mean.mean, error])
    return MeanResponse(mean=value, standard_error=standard_error)
