"""Runs: start, list, cancel, resume, delete."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from pydantic import BaseModel, ConfigDict, Field, PlainValidator

from service.api.concurrency import run_in_write_pool
from service.api.idempotency import REPLAYED_HEADER, BodyRequestKey, set_replayed_header
from service.api.pagination import Cursor, Page, PageLimit, RunId, decode_cursor, paginate
from service.api.scopes import requires
from service.api.services import ApiServices, Services
from service.api.strict_json import StrictJsonRoute
from service.core.experiments.plan import Notes
from service.core.recorded_spec import AnySpec, RecordedSpec, parse_spec
from service.core.schedules import MAX_EPOCHS
from service.core.spec import Name, PartOfName, RunSpec
from service.core.spec import Tag as TagText
from service.flows import deletion
from service.flows import runs as run_flows
from service.flows.environment import reasons_not_reproducible
from service.flows.run_activity import RunActivity
from service.flows.summaries import RunSummary
from service.store import runs
from service.store.run_status import RunPhase, RunSource, RunStatus
from service.store.runs import Run, RunProgress
from service.store.tokens import ADMIN, READ, RUN

router = APIRouter(tags=["runs"], route_class=StrictJsonRoute)


class RunErrorResponse(BaseModel):
    """Why a run failed."""

    model_config = ConfigDict(from_attributes=True)

    type: str = Field(
        description="Error code: diverged, oom, disk_full, dataset_unavailable, "
        "weights_unavailable, device_unavailable, image_gone, worker_killed, worker_died, "
        "worker_lost, checkpoint_corrupt, store_busy, error."
    )
    detail: str = Field(description="Description of the error.")


class ProgressResponse(BaseModel):
    """Progress of the epoch that is being trained, and what the run does now."""

    images_seen: int
    images_total: int = Field(description="0 for a recorded run, like `test_images_total`.")
    test_images_total: int = Field(description="Images that each epoch is evaluated on.")
    phase: RunPhase | None = Field(
        description="What the worker does now, as of its last heartbeat; null without a worker. "
        "A queued run is `starting` while its worker process starts."
    )
    queue_position: int | None = Field(
        description="Number of runs that wait for a worker and were queued no later than this "
        "one: 1 for the next to start; null if it does not wait."
    )
    seconds_per_epoch: float | None = Field(
        description="While running: the median of the last 5 epochs, recording included; null "
        "before epoch 1 is recorded."
    )


class BlankTotalResponse(BaseModel):
    """Numbers of maps, and of blank maps at the default threshold."""

    model_config = ConfigDict(from_attributes=True)

    total: int
    blank: int


class SummaryResponse(BaseModel):
    """Results of the run so far."""

    model_config = ConfigDict(from_attributes=True)

    test_accuracy: list[float] = Field(
        description="At most 40 evenly spaced epochs, from epoch 0 to the last one."
    )
    blank: dict[str, BlankTotalResponse] = Field(
        description="By method, for the paper's methods: maps of the probes from epoch 1 on, for "
        "each probe's label, at the default layer."
    )


class OriginResponse(BaseModel):
    """Origin of an imported run."""

    run_id: int = Field(description="Run id in the original installation.")
    camreel: str = Field(description="Camreel version that exported the run.")
    exported_at: datetime
    imported_at: datetime


class EnvironmentResponse(BaseModel):
    """What determines the results bit for bit, besides settings and data."""

    torch: str
    numpy: str
    threads: int = Field(description="Threads of torch; a resumed run uses the same number.")
    device: str = Field(description="`cpu`, or the name of the GPU.")
    cpu_capability: str = Field(
        description="Instruction set of torch's kernels, for example `AVX512`."
    )
    processor: str = Field(description="Model of the processor; empty if unknown.")
    machine: str = Field(description="Machine architecture, for example `x86_64`.")
    deterministic: bool = Field(
        description="Whether equal environments give bit-identical results."
    )
    math_variables: dict[str, str] = Field(
        description="Environment variables that affect arithmetic, if set."
    )


class RunResponse(BaseModel):
    """The state of a run."""

    id: int
    name: str
    tags: list[str]
    notes: str
    experiment_id: int | None = Field(
        description="The experiment that the run belongs to; null for a single run."
    )
    source: RunSource = Field(
        description="`trained` by the service, or `recorded` while it is trained elsewhere."
    )
    status: RunStatus = Field(
        description="`lost`: the recorder of a recorded run sends no heartbeats; the run continues "
        "with the next one."
    )
    epochs_done: int = Field(description="The last complete epoch; -1 before epoch 0 is stored.")
    epochs_total: int = Field(
        description="Of a recorded run: as announced, or else the last complete epoch."
    )
    progress: ProgressResponse
    spec: RunSpec | None = Field(description="Settings of the training; null for a recorded run.")
    recording: RecordedSpec | None = Field(
        description="What the recorder has said about the run; null for a trained run."
    )
    error: RunErrorResponse | None
    summary: SummaryResponse
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    origin: OriginResponse | None = Field(description="Origin, if the run was imported.")
    environment: EnvironmentResponse | None = Field(
        description="Environment in which training started; null before that, and for runs of "
        "older versions."
    )
    reproducible: bool = Field(
        description="Whether the same settings in the same environment give the same bits."
    )
    irreproducible_reasons: list[str] = Field(
        description="Reasons if not, for example a change of the environment."
    )
    last_event: int = Field(
        ge=0,
        description="Number of the newest event. `GET /runs/{run_id}/events?after=` with it "
        "continues from there.",
    )


class NewRunResponse(RunResponse):
    """A run that was just created."""

    lease: str | None = Field(
        description="Of a recorded run: the value of `Camreel-Lease` in the recorder's requests."
    )


def run_response(services: ApiServices, run: Run) -> RunResponse:
    """The run as a response."""
    (response,) = _run_responses(services, [run])
    return response


def past_run_response(services: ApiServices, run: Run) -> RunResponse:
    """The run as it was at an event, without an activity: that is of now."""
    (summary,) = services.summaries.get([run])
    return _run_response(run, summary, RunActivity())


def _run_responses(services: ApiServices, run_rows: list[Run]) -> list[RunResponse]:
    activities = services.activities.get({run.id: RunProgress.from_run(run) for run in run_rows})
    summaries = services.summaries.get(run_rows)
    return [
        _run_response(run, summary, activities[run.id])
        for run, summary in zip(run_rows, summaries, strict=True)
    ]


def _run_response(run: Run, summary: RunSummary, activity: RunActivity) -> RunResponse:
    values: dict[str, Any] = vars(run)
    parsed = parse_spec(run.spec)
    spec = None if isinstance(parsed, RecordedSpec) else parsed
    progress = ProgressResponse(
        images_seen=run.images_seen,
        images_total=spec.samples_per_epoch if spec else 0,
        test_images_total=spec.source.test_size if spec else 0,
        **vars(activity),
    )
    error = RunErrorResponse.model_validate(run.error) if run.error else None
    reasons = reasons_not_reproducible(run)
    derived_values: dict[str, Any] = {"spec": spec, "progress": progress, "error": error}
    derived_values |= {
        "source": run.source,
        "recording": parsed if isinstance(parsed, RecordedSpec) else None,
        "summary": summary,
        "reproducible": not reasons,
        "irreproducible_reasons": reasons,
    }
    return RunResponse.model_validate(values | derived_values)


def _parse_new_spec(values: object) -> AnySpec:
    """The spec of a new run, by its `source`. Raises ValidationError."""
    if not isinstance(values, dict):
        return RunSpec.model_validate(values)
    if values.get("source", RunSource.TRAINED) != RunSource.TRAINED:
        return RecordedSpec.model_validate(values)
    return RunSpec.model_validate({k: v for k, v in values.items() if k != "source"})


# Not a discriminated union: its errors would be located in one of the alternatives.
AnyNewSpec = Annotated[AnySpec, PlainValidator(_parse_new_spec, json_schema_input_type=AnySpec)]


@router.post(
    "/runs",
    status_code=201,
    summary="Start a run",
    responses={201: {"headers": {"Location": {"schema": {"type": "string"}}, **REPLAYED_HEADER}}},
)
@requires(RUN)
@run_in_write_pool
def create_run(
    services: Services,
    response: Response,
    key: BodyRequestKey,
    spec: Annotated[
        AnyNewSpec,
        Body(
            openapi_examples={
                "paper": {"summary": "The paper's experiment", "value": {}},
                "short": {
                    "summary": "Two short epochs of the embedded digits",
                    "value": {"dataset": "digits", "epochs": 2, "name": "a first look"},
                },
                "sgd": {
                    "summary": "Another optimizer, ReLU hidden units",
                    "value": {
                        "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
                        "architecture": {"hidden_activation": "relu"},
                        "tags": ["sgd"],
                    },
                },
                "recorded": {
                    "summary": "A run that is trained elsewhere",
                    "value": {
                        "source": "recorded",
                        "network": "0" * 64,
                        "class_names": ["cat", "dog"],
                    },
                },
            }
        ),
    ],
) -> NewRunResponse:
    """Queue a run. Every field has a default; `{}` is the experiment of the paper.

    With `source: "recorded"`, the run is trained elsewhere: it is running at once, and a recorder
    sends its epochs.
    """
    lease = None
    if isinstance(spec, RecordedSpec):
        run, lease, replayed = services.recordings.create(spec, key)
    else:
        run, replayed = run_flows.start_run_once(
            services.store,
            services.executor,
            services.workspace,
            spec,
            services.max_queued_runs,
            key,
            services.election.leader_name,
        )
    response.headers["Location"] = f"/runs/{run.id}"
    set_replayed_header(response, replayed)
    return NewRunResponse(**dict(run_response(services, run)), lease=lease)


@router.get("/runs", summary="List runs, newest first")
@requires(READ)
def list_runs(
    services: Services,
    status: Annotated[RunStatus | None, Query(description="Only runs with this status.")] = None,
    tag: Annotated[TagText | None, Query(description="Only runs with this tag.")] = None,
    search: Annotated[
        PartOfName | None,
        Query(description="Only runs whose name contains this text, in any case."),
    ] = None,
    experiment: Annotated[
        int | None,
        Query(ge=1, le=2**63 - 1, description="Only runs of the experiment with this id."),
    ] = None,
    limit: PageLimit = 50,
    cursor: Cursor = None,
) -> Page[RunResponse]:
    """Newest first."""
    before_id = decode_cursor(cursor)
    with services.store.read_session() as session:
        rows = runs.list_newest(
            session,
            limit=limit + 1,
            before_id=before_id,
            status=status,
            tag=tag,
            search=search,
            experiment_id=experiment,
        )
    responses = _run_responses(services, rows)
    return paginate(responses, limit, to_item=lambda response: response, key=lambda run: run.id)


@router.get("/runs/{run_id}", summary="Get a run")
@requires(READ)
def read_run(services: Services, run_id: RunId) -> RunResponse:
    """The current state of the run."""
    with services.store.read_session() as session:
        run = runs.get(session, run_id)
    return run_response(services, run)


class LabelsBody(BaseModel):
    """Labels of a run. A field that is left out or null stays as it is."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name | None = Field(None, description="Display name. Need not be unique.")
    tags: list[TagText] | None = Field(
        None, max_length=20, description="All tags of the run, in order."
    )
    notes: Notes | None = Field(None, description="Text about the run.")


@router.patch("/runs/{run_id}", summary="Rename, tag or annotate a run")
@requires(RUN)
@run_in_write_pool
def change_run(services: Services, run_id: RunId, body: LabelsBody) -> RunResponse:
    """Change labels of a run in any status. Its settings, maps and results stay as they are."""
    tags = None if body.tags is None else list(dict.fromkeys(body.tags))
    run = run_flows.change_labels(services.store, run_id, body.name, tags, body.notes)
    return run_response(services, run)


@router.post("/runs/{run_id}/cancel", status_code=202, summary="Cancel a run")
@requires(RUN)
@run_in_write_pool
def cancel_run(services: Services, run_id: RunId) -> RunResponse:
    """A queued run ends at once, a running one within a second. Its epochs are kept."""
    return run_response(services, run_flows.cancel_run(services.store, run_id))


class ResumeBody(BaseModel):
    """How far to train."""

    model_config = ConfigDict(extra="forbid", strict=True)

    epochs: int | None = Field(
        None,
        ge=1,
        le=MAX_EPOCHS,
        description="Total number of epochs, more than the run has. Default: as in its settings. "
        "Required for a run that succeeded.",
    )


@router.post("/runs/{run_id}/resume", status_code=202, summary="Resume or extend a run")
@requires(RUN)
@run_in_write_pool
def resume_run(
    services: Services, run_id: RunId, body: Annotated[ResumeBody | None, Body()] = None
) -> RunResponse:
    """Continue from the last epoch, with the same results bit for bit.

    409 if the run is active, or if it diverged: it would diverge again.
    """
    run = run_flows.resume_run(
        services.store,
        services.executor,
        services.workspace,
        run_id,
        body.epochs if body else None,
        services.max_queued_runs,
        services.election.leader_name,
    )
    return run_response(services, run)


@router.delete("/runs/{run_id}", status_code=204, summary="Delete a run")
@requires(ADMIN)
@run_in_write_pool
def delete_run(services: Services, run_id: RunId) -> None:
    """Delete a run with its checkpoints and maps. 409 if it is running.

    The run disappears at once. Its storage is freed in the background.
    """
    deletion.delete_run(services.store, run_id)
