"""Scores: how sure the network is, epoch by epoch."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from service.api.map_parameters import Epochs, Text
from service.api.numbers import finite_or_none
from service.api.pages import RunId
from service.api.quarantine import without_bad_epochs
from service.api.services import Services
from service.flows.scores import image_scores

router = APIRouter(prefix="/runs/{run_id}", tags=["epochs"])


class ScoreParameters(BaseModel):
    """Of which image, at which epochs."""

    model_config = ConfigDict(extra="forbid")

    image: Text | None = Field(
        None, description="`test:7` or `train:12`. Default: the run's first probe."
    )
    epochs: Epochs = "0:"


class ScoresAnswer(BaseModel):
    """Softmax's probability of each class at each epoch."""

    image: str
    label: int | None = Field(description="The image's own class.")
    classes: list[str] = Field(description="Their names.")
    epochs: list[int]
    probabilities: list[list[float | None]] = Field(
        description="One list an epoch, one number a class; null where it is not finite."
    )
    quarantined: list[int] = Field(
        description="Epochs that were asked for and are left out: their checkpoints are bad."
    )


@router.get("/scores", summary="How sure the network is of each class, over the epochs")
@without_bad_epochs
def read_scores(
    services: Services, run_id: RunId, asked: Annotated[ScoreParameters, Query()]
) -> ScoresAnswer:
    """Recorded for probes while the run trains; computed for other images, once."""
    scores = image_scores(services.viewer, run_id, asked.image, asked.epochs)
    probabilities = [finite_or_none(values) for values in scores.probabilities]
    return ScoresAnswer.model_validate(vars(scores) | {"probabilities": probabilities})
