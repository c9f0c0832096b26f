"""Runs: start them, follow them, end them."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from service.api.concurrency import run_in_write_pool
from service.api.idempotency import REPLAYED_HEADER, BodyRequestKey, set_replayed_header
from service.api.pagination import Cursor, Page, PageLimit, RunId, decode_cursor, paginate
from service.api.scopes import requires
from service.api.services import ApiServices, Services
from service.api.strict_json import StrictJsonRoute
from service.core.spec import MAX_EPOCHS, PartOfName, RunSpec
from service.core.spec import Tag as TagText
from service.flows import deletion
from service.flows import runs as run_flows
from service.flows.environment import reasons_not_reproducible
from service.flows.summaries import Summary
from service.store import runs
from service.store.run_status import RunStatus
from service.store.runs import Run
from service.store.tokens import ADMIN, READ, RUN

router = APIRouter(tags=["runs"], route_class=StrictJsonRoute)


class RunProblem(BaseModel):
    """Why a run failed."""

    model_config = ConfigDict(from_attributes=True)

    type: str = Field(
        description="A word for programs: diverged, oom, disk_full, dataset_unavailable, "
        "device_unavailable, image_gone, worker_killed, worker_died, worker_lost, "
        "checkpoint_corrupt, store_busy, error."
    )
    detail: str = Field(description="A sentence for people.")


class RunProgress(BaseModel):
    """How far the epoch in work is."""

    images_seen: int
    images_total: int


class BlankTotalResponse(BaseModel):
    """How many maps, and how many of them show nothing at the default threshold."""

    model_config = ConfigDict(from_attributes=True)

    total: int
    blank: int


class SummaryResponse(BaseModel):
    """What became of the run so far."""

    model_config = ConfigDict(from_attributes=True)

    test_accuracy: list[float] = Field(
        description="Of at most 40 epochs from 0 on, evenly far apart, the last one included."
    )
    blank: dict[str, BlankTotalResponse] = Field(
        description="By the paper's methods: maps of the probes from epoch 1 on, each for its own "
        "label at the default layer."
    )


class OriginResponse(BaseModel):
    """Where an imported run comes from."""

    run_id: int = Field(description="Its id there.")
    camreel: str = Field(description="The version that exported it.")
    exported_at: datetime
    imported_at: datetime


class EnvironmentResponse(BaseModel):
    """What decides the bits of a training, besides its spec and its data."""

    torch: str
    numpy: str
    threads: int = Field(description="Of torch's operations; a run that goes on uses as many.")
    device: str = Field(description="`cpu`, or the GPU's name.")
    cpu_capability: str = Field(description="Instruction set of torch's kernels, as `AVX512`.")
    processor: str = Field(description="Its model; empty where the machine does not say.")
    machine: str = Field(description="Architecture, as `x86_64`.")
    deterministic: bool = Field(description="Whether equal environments give equal bits.")
    math_variables: dict[str, str] = Field(
        description="Environment variables that choose other arithmetic, where set."
    )


class RunResponse(BaseModel):
    """A run as it stands."""

    id: int
    name: str
    tags: list[str]
    status: RunStatus
    epochs_done: int = Field(description="The last whole epoch; -1 before epoch 0 is stored.")
    epochs_total: int
    progress: RunProgress
    spec: RunSpec
    error: RunProblem | None
    summary: SummaryResponse
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    origin: OriginResponse | None = Field(
        description="Of an imported run: what it was where it was trained."
    )
    environment: EnvironmentResponse | None = Field(
        description="What its training began in; null before it began, and of a run that an older "
        "version trained."
    )
    reproducible: bool = Field(
        description="Whether the same spec in the same environment gives the same bits."
    )
    irreproducible_reasons: list[str] = Field(
        description="Why it may not: a change of the environment, a phrase each."
    )
    last_event: int = Field(
        ge=0,
        description="The number of its newest event: `GET /runs/{run_id}/events?after=` it tells "
        "what happens from then on.",
    )


def answer(services: ApiServices, run: Run) -> RunResponse:
    """The run as clients see it."""
    (found,) = services.summaries.of([run])
    return _answer(run, found)


def _answer(run: Run, summary: Summary) -> RunResponse:
    values: dict[str, Any] = vars(run)
    progress = RunProgress(images_seen=run.images_seen, images_total=run.spec["samples_per_epoch"])
    error = RunProblem.model_validate(run.error) if run.error else None
    reasons = reasons_not_reproducible(run)
    more: dict[str, Any] = {"progress": progress, "error": error, "summary": summary}
    more |= {"reproducible": not reasons, "irreproducible_reasons": reasons}
    return RunResponse.model_validate(values | more)


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
        RunSpec,
        Body(
            openapi_examples={
                "paper": {"summary": "The paper's experiment", "value": {}},
                "short": {
                    "summary": "Two short epochs of the embedded digits",
                    "value": {"dataset": "digits", "epochs": 2, "name": "a first look"},
                },
                "sgd": {
                    "summary": "Another optimiser, ReLU hidden units",
                    "value": {
                        "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
                        "architecture": {"hidden_activation": "relu"},
                        "tags": ["sgd"],
                    },
                },
            }
        ),
    ],
) -> RunResponse:
    """Queue a run. `{}` is the paper's experiment; every field has a default."""
    run, replayed = run_flows.start_run_once(
        services.store, services.executor, services.workspace, spec, services.max_queued_runs, key
    )
    response.headers["Location"] = f"/runs/{run.id}"
    set_replayed_header(response, replayed)
    return answer(services, run)


@router.get("/runs", summary="List runs, newest first")
@requires(READ)
def list_runs(
    services: Services,
    status: Annotated[RunStatus | None, Query(description="Only runs of this status.")] = None,
    tag: Annotated[TagText | None, Query(description="Only runs with this tag.")] = None,
    search: Annotated[
        PartOfName | None,
        Query(description="Only runs whose name has this in it, in whatever case."),
    ] = None,
    limit: PageLimit = 50,
    cursor: Cursor = None,
) -> Page[RunResponse]:
    """Runs, newest first."""
    before = decode_cursor(cursor)
    with services.store.read_session() as session:
        found = runs.list_newest(
            session, limit=limit + 1, before_id=before, status=status, tag=tag, search=search
        )
    told = list(zip(found, services.summaries.of(found), strict=True))
    return paginate(told, limit, lambda one: _answer(*one), lambda one: one[0].id)


@router.get("/runs/{run_id}", summary="One run")
@requires(READ)
def read_run(services: Services, run_id: RunId) -> RunResponse:
    """The run as it stands."""
    with services.store.read_session() as session:
        run = runs.get(session, run_id)
    return answer(services, run)


@router.post("/runs/{run_id}/cancel", status_code=202, summary="Cancel a run")
@requires(RUN)
@run_in_write_pool
def cancel_run(services: Services, run_id: RunId) -> RunResponse:
    """Ask for its end: at once if it waits, within a second if it trains. Its epochs stay."""
    return answer(services, run_flows.cancel_run(services.store, run_id))


class Resumption(BaseModel):
    """How far a run that has ended shall go on."""

    model_config = ConfigDict(extra="forbid", strict=True)

    epochs: int | None = Field(
        None,
        ge=1,
        le=MAX_EPOCHS,
        description="Its epochs in all, more than it has; default: what it was asked for. A "
        "succeeded run needs it.",
    )


@router.post("/runs/{run_id}/resume", status_code=202, summary="Resume or extend a run")
@requires(RUN)
@run_in_write_pool
def resume_run(
    services: Services, run_id: RunId, body: Annotated[Resumption | None, Body()] = None
) -> RunResponse:
    """Train on from its last epoch, bit for bit as if it had never stopped. 409 unless it ended."""
    run = run_flows.resume_run(
        services.store,
        services.executor,
        services.workspace,
        run_id,
        body.epochs if body else None,
        services.max_queued_runs,
    )
    return answer(services, run)


@router.delete("/runs/{run_id}", status_code=204, summary="Delete a run")
@requires(ADMIN)
@run_in_write_pool
def delete_run(services: Services, run_id: RunId) -> None:
    """Delete it with its checkpoints and maps; a running one is refused.

    It is gone when this answers; its space is freed in the background.
    """
    deletion.delete_run(services.store, run_id)
