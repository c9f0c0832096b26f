"""Divergences of runs."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from service.api.numbers import finite_or_none
from service.api.pagination import RunId
from service.api.scopes import requires
from service.api.services import Services
from service.core.step_history import IMAGES_PER_NORM, MAX_STEPS
from service.flows.divergence import SuggestionReason, read_divergence
from service.store.tokens import READ

router = APIRouter(tags=["runs"])


class SuggestionResponse(BaseModel):
    """A learning rate to try next. It is a rule of thumb: the new run may diverge too."""

    model_config = ConfigDict(from_attributes=True)

    learning_rate: float
    reason: SuggestionReason = Field(
        description="`fraction`: a tenth of the run's learning rate. `default`: the optimizer's "
        "default, which is smaller than that."
    )


class StepsResponse(BaseModel):
    """Loss and gradient norm of the last steps before the divergence."""

    epoch: int = Field(description="The epoch in which the run diverged.")
    first_step: int = Field(description="Number of the first of these steps in the epoch, from 1.")
    losses: list[float | None] = Field(
        description=f"By step, before its update; at most the last {MAX_STEPS}. Null if not "
        "finite, as the last one is unless only the test loss is not finite."
    )
    gradient_norms: list[float | None] = Field(
        description="L2 norm of the gradient of all parameters, by step. Null if not finite, or "
        f"not measured: batches of fewer than {IMAGES_PER_NORM} images leave out steps."
    )


class DivergenceResponse(BaseModel):
    """How a run diverged."""

    learning_rate: float = Field(description="Learning rate of the run.")
    suggestion: SuggestionResponse
    steps: StepsResponse | None = Field(
        description="Null for a run of an older version, which recorded none."
    )


@router.get("/runs/{run_id}/divergence", summary="Get the divergence of a run")
@requires(READ)
def read_run_divergence(services: Services, run_id: RunId) -> DivergenceResponse:
    """The last steps of a run that failed with `diverged`, and a learning rate to try next.

    404 for any other run.
    """
    report = read_divergence(services.store, run_id)
    steps = report.steps and StepsResponse(
        epoch=report.steps.epoch,
        first_step=report.steps.first_step,
        losses=finite_or_none(report.steps.losses),
        gradient_norms=finite_or_none(report.steps.gradient_norms),
    )
    return DivergenceResponse(
        learning_rate=report.learning_rate,
        suggestion=SuggestionResponse.model_validate(report.suggestion),
        steps=steps,
    )
