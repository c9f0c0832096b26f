"""Experiments: start, list, cancel, resume, retry, extend, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from service.api.concurrency import run_in_write_pool
from service.api.idempotency import REPLAYED_HEADER, BodyRequestKey, set_replayed_header
from service.api.pagination import (
    Cursor,
    Page,
    PageLimit,
    decode_cursor,
    paginate,
    require_digits,
)
from service.api.resources.experiment_responses import (
    ContinuedResponse,
    DryRunResponse,
    ExperimentBody,
    ExperimentResponse,
    ExperimentSummary,
    PlannedRunResponse,
    RunMeasureResponse,
    SkippedRunResponse,
    TimeEstimateResponse,
    run_item,
    summary_response,
    summary_values,
)
from service.api.scopes import requires
from service.api.services import ApiServices, Services
from service.api.strict_json import StrictJsonRoute
from service.core.experiments.measures import RUN_MEASURES
from service.core.experiments.plan import ExperimentPlan, Notes, Seeds
from service.core.spec import Name
from service.flows.experiment_estimate import TimeEstimate, estimate_time
from service.flows.experiments import SkippedRun
from service.store import experiments
from service.store.experiments import Experiment
from service.store.run_status import RunStatus
from service.store.tokens import ADMIN, READ, RUN

router = APIRouter(tags=["experiments"], route_class=StrictJsonRoute)

ExperimentId = Annotated[
    int,
    Path(ge=1, le=2**63 - 1, description="The experiment's id.", examples=[1]),
    BeforeValidator(require_digits),
]


@router.post(
    "/experiments",
    status_code=201,
    summary="Start an experiment",
    responses={
        200: {"model": DryRunResponse, "description": "With `dry_run`: what would start."},
        201: {"headers": {"Location": {"schema": {"type": "string"}}, **REPLAYED_HEADER}},
    },
    response_model=ExperimentSummary,
)
@requires(RUN)
@run_in_write_pool
def create_experiment(
    services: Services,
    response: Response,
    key: BodyRequestKey,
    body: Annotated[
        ExperimentBody,
        Body(
            openapi_examples={
                "grid": {
                    "summary": "The paper's three hyperparameters, two seeds",
                    "value": {
                        "name": "learning rate, kernel, dropout",
                        "base": {"epochs": 6, "samples_per_epoch": 2000},
                        "fields": {
                            "optimizer.learning_rate": {"values": [0.1, 1.0, 3.0]},
                            "architecture.kernel_size": {"values": [3, 5, 7]},
                            "architecture.dropout": {"values": [0.0, 0.5]},
                        },
                        "seeds": [0, 1],
                    },
                },
                "sample": {
                    "summary": "Twenty random settings, without starting them",
                    "value": {
                        "base": {"dataset": "digits", "epochs": 5},
                        "fields": {
                            "optimizer.learning_rate": {"log_uniform": [0.01, 3]},
                            "batch_size": {"uniform": [20, 200]},
                        },
                        "samples": 20,
                        "dry_run": True,
                    },
                },
            }
        ),
    ],
) -> Any:
    """Queue all runs of a plan: a grid of values, random samples, or a list of settings.

    Runs of experiments have a queue of their own: they start when no single run waits, and do not
    count for `CAMREEL_MAX_QUEUED_RUNS`. All are validated before any is created.
    """
    plan = ExperimentPlan.model_validate(body.model_dump(exclude={"dry_run"}))
    if body.dry_run:
        return _dry_run_response(services, plan)
    experiment, replayed = services.experiments.start(plan, key, services.election.leader_name)
    response.headers["Location"] = f"/experiments/{experiment.id}"
    set_replayed_header(response, replayed)
    return _read_summary(services, experiment)


@router.get("/experiments", summary="List experiments, newest first")
@requires(READ)
def list_experiments(
    services: Services, limit: PageLimit = 50, cursor: Cursor = None
) -> Page[ExperimentSummary]:
    """Newest first, with the progress of their runs."""
    with services.store.read_session() as session:
        rows = experiments.list_newest(session, limit=limit + 1, before_id=decode_cursor(cursor))
        totals = experiments.count_runs(session, [row.id for row in rows])
    return paginate(
        rows,
        limit,
        to_item=lambda row: summary_response(row, totals[row.id]),
        key=lambda row: row.id,
    )


@router.get("/experiments/{experiment_id}", summary="Get an experiment with its runs")
@requires(READ)
def read_experiment(
    services: Services, experiment_id: ExperimentId, limit: PageLimit = 50, cursor: Cursor = None
) -> ExperimentResponse:
    """Progress, and a page of the runs in the order of the plan."""
    after = decode_cursor(cursor)
    experiment, rows = services.experiment_results.get(experiment_id, after, limit + 1)
    page = paginate(rows, limit, to_item=run_item, key=lambda row: row.position)
    with services.store.read_session() as session:
        totals = experiments.count_runs(session, [experiment_id])[experiment_id]
    return ExperimentResponse(
        **summary_values(experiment, totals),
        measures=[
            RunMeasureResponse(name=m.name, description=m.description, direction=m.direction)
            for m in RUN_MEASURES.values()
        ],
        items=page.items,
        next=page.next,
    )


class ExperimentLabelsBody(BaseModel):
    """Labels of an experiment. A field that is left out or null stays as it is."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name | None = Field(None, description="Display name. Need not be unique.")
    notes: Notes | None = Field(None, description="Text about the experiment.")


@router.patch("/experiments/{experiment_id}", summary="Rename or annotate an experiment")
@requires(RUN)
@run_in_write_pool
def change_experiment(
    services: Services, experiment_id: ExperimentId, body: ExperimentLabelsBody
) -> ExperimentSummary:
    """Change name and notes. The names of its runs stay as they are."""
    experiment = services.experiments.change_labels(experiment_id, body.name, body.notes)
    return _read_summary(services, experiment)


@router.post("/experiments/{experiment_id}/cancel", status_code=202, summary="Cancel an experiment")
@requires(RUN)
@run_in_write_pool
def cancel_experiment(services: Services, experiment_id: ExperimentId) -> ExperimentSummary:
    """Its queued runs end at once, its running ones within a second. Their epochs are kept."""
    return _read_summary(services, services.experiments.cancel(experiment_id))


@router.post(
    "/experiments/{experiment_id}/resume", status_code=202, summary="Resume the cancelled runs"
)
@requires(RUN)
@run_in_write_pool
def resume_experiment(services: Services, experiment_id: ExperimentId) -> ContinuedResponse:
    """Each continues from its last epoch. 409 if no run is cancelled."""
    return _continue(services, experiment_id, RunStatus.CANCELLED)


@router.post("/experiments/{experiment_id}/retry", status_code=202, summary="Retry the failed runs")
@requires(RUN)
@run_in_write_pool
def retry_experiment(services: Services, experiment_id: ExperimentId) -> ContinuedResponse:
    """Each continues from its last epoch; runs that diverged would diverge again, and are skipped.

    409 if no run has failed.
    """
    return _continue(services, experiment_id, RunStatus.FAILED)


class SeedsBody(BaseModel):
    """Further seeds."""

    model_config = ConfigDict(extra="forbid", strict=True)

    seeds: Seeds = Field(description="Seeds that the experiment does not have yet.")


@router.post(
    "/experiments/{experiment_id}/seeds", status_code=202, summary="Add seeds to an experiment"
)
@requires(RUN)
@run_in_write_pool
def add_seeds(
    services: Services, experiment_id: ExperimentId, body: SeedsBody
) -> ExperimentSummary:
    """Queue a run of every setting with each of the seeds."""
    experiment = services.experiments.add_seeds(
        experiment_id, body.seeds, services.election.leader_name
    )
    return _read_summary(services, experiment)


@router.delete(
    "/experiments/{experiment_id}", status_code=204, summary="Delete an experiment with its runs"
)
@requires(ADMIN)
@run_in_write_pool
def delete_experiment(services: Services, experiment_id: ExperimentId) -> None:
    """Delete it with all runs, their checkpoints and maps. 409 while a run is running."""
    services.experiments.delete(experiment_id)


def _continue(services: ApiServices, experiment_id: int, status: RunStatus) -> ContinuedResponse:
    experiment, skipped = services.experiments.continue_runs(
        experiment_id, status, services.election.leader_name
    )
    summary = _read_summary(services, experiment)
    return ContinuedResponse(**dict(summary), skipped=_skipped(skipped))


def _skipped(skipped: list[SkippedRun]) -> list[SkippedRunResponse]:
    return [SkippedRunResponse.model_validate(run) for run in skipped]


def _dry_run_response(services: ApiServices, plan: ExperimentPlan) -> Response:
    run_plans = services.experiments.plan(plan)
    estimate: TimeEstimate | None = estimate_time(services.store, run_plans, services.parallel_runs)
    answer = DryRunResponse(
        runs_total=len(run_plans),
        settings_total=plan.setting_count,
        estimate=TimeEstimateResponse.model_validate(estimate) if estimate else None,
        items=[
            PlannedRunResponse(
                position=run.position, parameters=run.setting, seed=run.seed, spec=run.spec
            )
            for run in run_plans
        ],
    )
    return Response(answer.model_dump_json(), media_type="application/json")


def _read_summary(services: ApiServices, experiment: Experiment) -> ExperimentSummary:
    with services.store.read_session() as session:
        totals = experiments.count_runs(session, [experiment.id])[experiment.id]
    return summary_response(experiment, totals)
