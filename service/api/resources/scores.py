"""Class probabilities over epochs."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from service.api.expensive import RESPONSES, Respond
from service.api.map_parameters import Epochs, Text
from service.api.numbers import finite_or_none
from service.api.pagination import RunId
from service.api.scopes import requires
from service.api.work import ExpensiveRequest, Representation
from service.flows.maps.scores import Scores, scores
from service.store.tokens import READ

router = APIRouter(prefix="/runs/{run_id}", tags=["epochs"])


class ScoreParameters(BaseModel):
    """Image and epochs."""

    model_config = ConfigDict(extra="forbid")

    image: Text | None = Field(
        None, description="`test:7` or `train:12`. Default: the run's first probe."
    )
    epochs: Epochs = "0:"


class ScoresResponse(BaseModel):
    """Softmax probability of each class at each epoch."""

    image: str
    label: int | None = Field(description="Label of the image.")
    classes: list[str] = Field(description="Class names.")
    epochs: list[int]
    probabilities: list[list[float | None]] = Field(
        description="A list per epoch with a number per class; null if not finite."
    )
    quarantined_epochs: list[int] = Field(
        description="Requested epochs that are omitted: their checkpoints are damaged."
    )


@router.get(
    "/scores",
    summary="Class probabilities over epochs",
    responses=RESPONSES,
    response_model=ScoresResponse,
)
@requires(READ)
async def read_scores(
    respond: Respond, run_id: RunId, query: Annotated[ScoreParameters, Query()]
) -> Response:
    """Recorded for probes during training. For other images they are computed once."""
    services = respond.services

    def represent() -> Representation[Scores]:
        return Representation(
            scores(services.pipeline, run_id, query.image, query.epochs),
            "application/json",
            lambda value: _response(value).model_dump_json().encode(),
        )

    return await respond(ExpensiveRequest("scores", represent))


def _response(value: Scores) -> ScoresResponse:
    probabilities = [finite_or_none(values) for values in value.probabilities]
    return ScoresResponse.model_validate(vars(value) | {"probabilities": probabilities})
