"""What requests and responses of experiments contain."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from service.api.run_responses import RunErrorResponse
from service.core.experiments.plan import ExperimentPlan
from service.core.spec import RunSpec
from service.flows.experiment_results import ExperimentRun
from service.flows.experiments import parse_plan
from service.store.experiments import Experiment, RunTotals
from service.store.run_status import RunStatus


class ExperimentBody(ExperimentPlan):
    """A plan, and whether to start it."""

    dry_run: bool = False
    """Start nothing: the answer is what would start, and how long it would take."""


class RunTotalsResponse(BaseModel):
    """Numbers of runs by status."""

    total: int
    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int


class ExperimentSummary(BaseModel):
    """An experiment and the progress of its runs."""

    id: int
    name: str
    notes: str
    created_at: datetime
    plan: ExperimentPlan
    fields: list[str] = Field(description="Dotted paths of the fields that vary.")
    settings_total: int = Field(description="Number of settings, each with every seed.")
    runs: RunTotalsResponse
    epochs_done: int = Field(description="Epochs recorded by all runs, without epoch 0.")
    epochs_total: int


class ExperimentRunResponse(BaseModel):
    """A run of an experiment with its setting, and the measures of its last epoch."""

    run_id: int
    position: int = Field(description="Position in the plan, from 0.")
    name: str
    parameters: dict[str, JsonValue] = Field(
        description="The values of the fields that vary, by dotted path."
    )
    seed: int
    status: RunStatus
    epochs_done: int
    epochs_total: int
    error: RunErrorResponse | None
    measures: dict[str, float | None] = Field(
        description="Measures of the last recorded epoch, by name; null if there is none."
    )


class RunMeasureResponse(BaseModel):
    """A measure by which runs are compared."""

    name: str
    description: str
    direction: str = Field(description="Which values are better: `higher`, `lower` or `neither`.")


class ExperimentResponse(ExperimentSummary):
    """An experiment with a page of its runs."""

    measures: list[RunMeasureResponse]
    items: list[ExperimentRunResponse] = Field(description="Runs, in the order of the plan.")
    next: str | None = Field(description="Cursor of the next page; null on the last page.")


class SkippedRunResponse(BaseModel):
    """A run that could not continue."""

    model_config = ConfigDict(from_attributes=True)

    run_id: int
    reason: str


class ContinuedResponse(ExperimentSummary):
    """An experiment whose runs were queued again."""

    skipped: list[SkippedRunResponse] = Field(
        description="Runs that cannot continue, such as those that diverged."
    )


class TimeEstimateResponse(BaseModel):
    """How long the runs will take, from the durations of comparable runs."""

    model_config = ConfigDict(from_attributes=True)

    run_seconds: float = Field(description="Sum over all runs.")
    seconds: float = Field(description="With `parallel_runs` at a time and no other runs.")
    parallel_runs: int
    basis_run_ids: list[int] = Field(description="The runs whose durations were used.")
    is_scaled: bool = Field(
        description="Whether some runs have no equal earlier run, and were scaled from similar "
        "ones by their images per epoch."
    )


class PlannedRunResponse(BaseModel):
    """A run that would start."""

    position: int
    parameters: dict[str, JsonValue]
    seed: int
    spec: RunSpec


class DryRunResponse(BaseModel):
    """What an experiment would start."""

    dry_run: bool = True
    runs_total: int
    settings_total: int
    estimate: TimeEstimateResponse | None = Field(
        description="Null if a run has no comparable earlier run."
    )
    items: list[PlannedRunResponse]


def summary_response(experiment: Experiment, totals: RunTotals) -> ExperimentSummary:
    """The experiment as a response."""
    return ExperimentSummary(**summary_values(experiment, totals))


def run_item(row: ExperimentRun) -> ExperimentRunResponse:
    """A run of an experiment as a response."""
    run = row.run
    return ExperimentRunResponse(
        run_id=run.id,
        position=row.position,
        name=run.name,
        parameters=row.setting,
        seed=row.seed,
        status=run.status,
        epochs_done=run.epochs_done,
        epochs_total=run.epochs_total,
        error=RunErrorResponse.model_validate(run.error) if run.error else None,
        measures=row.values(),
    )


def summary_values(experiment: Experiment, totals: RunTotals) -> dict[str, Any]:
    """The fields of ExperimentSummary."""
    plan = parse_plan(experiment)
    counts = {
        status.value: totals.by_status.get(status, 0)
        for status in RunStatus
        if status is not RunStatus.LOST
    }
    return {
        "id": experiment.id,
        "name": experiment.name,
        "notes": experiment.notes,
        "created_at": experiment.created_at,
        "plan": plan,
        "fields": plan.paths,
        "settings_total": plan.setting_count,
        "runs": RunTotalsResponse(total=totals.total, **counts),
        "epochs_done": totals.epochs_done,
        "epochs_total": totals.epochs_total,
    }
