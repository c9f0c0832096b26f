"""Measures of a run over its epochs, the confusion matrix of an epoch, and events of probes."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from service.api.pagination import EpochNumber, RunId
from service.api.resources.csv_exports import CSV, attachment, to_csv
from service.api.scopes import requires
from service.api.services import Services
from service.core.insight.probe_events import ProbeEventType
from service.errors import InvalidValue
from service.flows.insights import (
    MEASURES,
    read_confusion,
    read_insights,
    read_probe_events,
)
from service.store.tokens import READ

router = APIRouter(prefix="/runs/{run_id}", tags=["insights"])

MAX_REFERENCES = 200
"""Images of a cell of a confusion matrix in one answer."""


class MeasureResponse(BaseModel):
    """A measure, and its value at each epoch."""

    name: str
    title: str
    formula: str
    source: str
    range: tuple[float, float | None] = Field(description="Null: no bound.")
    values: list[float | None] = Field(description="One per epoch; null if not taken.")


class TrainingImageResponse(BaseModel):
    """A training image and how it was rated as drawn, with dropout and augmentation on."""

    image: str
    label: int
    presentations: int
    mean_probability: float = Field(description="Of the given label, 0..1.")
    forgotten: int = Field(description="Times correct at one presentation and not at the next.")


class InsightsResponse(BaseModel):
    """Measures over the recorded epochs."""

    run_id: int
    epochs: list[int]
    measures: list[MeasureResponse]
    hardest: list[TrainingImageResponse] = Field(
        description="Training images with the smallest mean probability of their label, among "
        "those presented three times."
    )
    most_forgotten: list[TrainingImageResponse]


@router.get("/insights", summary="Measures over epochs")
@requires(READ)
def read_run_insights(services: Services, run_id: RunId) -> InsightsResponse:
    """Recorded during training. Empty for runs of earlier versions and for recorded runs."""
    insights = read_insights(services.store, run_id)
    return InsightsResponse(
        run_id=run_id,
        epochs=insights.epochs,
        measures=[
            MeasureResponse(
                name=measure.name,
                title=measure.title,
                formula=measure.formula,
                source=measure.source,
                range=measure.range,
                values=insights.values[measure.name],
            )
            for measure in MEASURES
        ],
        hardest=[_training_image(values) for values in insights.hardest],
        most_forgotten=[_training_image(values) for values in insights.most_forgotten],
    )


@router.get(
    "/insights.csv",
    summary="Measures over epochs, as CSV",
    response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
@requires(READ)
def read_insights_csv(services: Services, run_id: RunId) -> Response:
    """A row per epoch, a column per measure; an empty field where a measure was not taken."""
    insights = read_insights(services.store, run_id)
    names = [measure.name for measure in MEASURES]
    rows = (
        [epoch, *(insights.values[name][i] for name in names)]
        for i, epoch in enumerate(insights.epochs)
    )
    return Response(
        to_csv(["epoch", *names], rows),
        media_type=CSV,
        headers=attachment(f"run-{run_id}-insights.csv"),
    )


class CellQuery(BaseModel):
    """A cell of the matrix."""

    model_config = ConfigDict(extra="forbid")

    label: int | None = Field(None, ge=0, description="Class index of the row.")
    predicted: int | None = Field(None, ge=0, description="Class index of the column.")


class CellResponse(BaseModel):
    """A cell that is not on the diagonal, and its misclassified test images."""

    label: int
    predicted: int
    count: int
    images: list[str] = Field(description=f"References, at most the first {MAX_REFERENCES}.")


class ConfusionResponse(BaseModel):
    """The confusion matrix of the test split."""

    epoch: int
    class_names: list[str]
    matrix: list[list[int]] = Field(description="Rows are true classes, columns predicted ones.")
    cells: list[CellResponse] = Field(
        description="The requested cell, or all that have images, largest first."
    )


@router.get("/epochs/{epoch}/confusion", summary="Confusion matrix of an epoch")
@requires(READ)
def read_run_confusion(
    services: Services,
    run_id: RunId,
    epoch: EpochNumber,
    query: Annotated[CellQuery, Query()],
) -> ConfusionResponse:
    """Test images by true and predicted class. 404 for runs that recorded no predictions."""
    confusion = read_confusion(services.store, run_id, epoch)
    count = len(confusion.class_names)
    for name, value in (("label", query.label), ("predicted", query.predicted)):
        if value is not None and value >= count:
            raise InvalidValue(name, f"is a class index, 0 to {count - 1}")
    cells = [
        CellResponse(
            label=label,
            predicted=predicted,
            count=int(confusion.matrix[label, predicted]),
            images=[f"test:{i}" for i in confusion.mistakes.cell(label, predicted)][
                :MAX_REFERENCES
            ],
        )
        for label in range(count)
        for predicted in range(count)
        if label != predicted
        and confusion.matrix[label, predicted]
        and query.label in (None, label)
        and query.predicted in (None, predicted)
    ]
    return ConfusionResponse(
        epoch=epoch,
        class_names=list(confusion.class_names),
        matrix=confusion.matrix.tolist(),
        cells=sorted(cells, key=lambda cell: -cell.count),
    )


class ProbeEventResponse(BaseModel):
    """An event in the predictions of a probe."""

    epoch: int
    type: ProbeEventType
    previous_class: int | None = Field(description="Null for the first epoch.")
    predicted_class: int


class ProbeEventsResponse(BaseModel):
    """A probe and its events by epoch."""

    image: str
    label: int | None
    events: list[ProbeEventResponse]


class RunProbeEventsResponse(BaseModel):
    """The events of all probes of a run."""

    probes: list[ProbeEventsResponse]


@router.get("/probe-events", summary="Events in the predictions of the probes")
@requires(READ)
def read_run_probe_events(services: Services, run_id: RunId) -> RunProbeEventsResponse:
    """When each probe was first right, forgotten, learned again, or changed its wrong class."""
    courses = read_probe_events(services.store, run_id)
    return RunProbeEventsResponse(
        probes=[
            ProbeEventsResponse(
                image=course.image,
                label=course.label,
                events=[ProbeEventResponse(**vars(event)) for event in course.events],
            )
            for course in courses
        ]
    )


def _training_image(values: dict[str, int | float]) -> TrainingImageResponse:
    fields = {name: value for name, value in values.items() if name != "index"}
    return TrainingImageResponse.model_validate({**fields, "image": f"train:{values['index']}"})
