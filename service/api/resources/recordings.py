"""Recorded runs: what a recorder sends while it trains elsewhere."""

from typing import Annotated

from fastapi import APIRouter, Body, Header, HTTPException, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from starlette.requests import ClientDisconnect

from service.api.concurrency import run_in_pool, run_in_write_pool
from service.api.pagination import (
    Cursor,
    EpochNumber,
    Page,
    PageLimit,
    RunId,
    decode_cursor,
    paginate,
)
from service.api.resources.epochs import EpochResponse, epoch_response
from service.api.run_responses import RunResponse, run_response
from service.api.scopes import requires
from service.api.services import Services
from service.api.strict_json import StrictJsonRoute
from service.core.recorded_spec import MAX_PROBES, Sha256
from service.flows.recorded_runs import RecordedEpoch
from service.flows.thread_pools import PoolName
from service.names import check_paragraphs
from service.store import step_metrics
from service.store.tokens import READ, RUN

router = APIRouter(tags=["recorded runs"], route_class=StrictJsonRoute)

MAX_TENSORS = 20_000
MAX_METRICS = 1_000
MAX_POINTS = 1_000

Lease = Annotated[
    str,
    Header(
        alias="Camreel-Lease",
        max_length=64,
        description="`lease` of the response that created or took over the run. 409 if another "
        "recorder has taken over since.",
    ),
]
Name = Annotated[str, Field(min_length=1, max_length=256)]
Point = Annotated[tuple[int, float | None], Field(strict=False)]
Points = Annotated[list[Point], Field(max_length=MAX_POINTS)]
Detail = Annotated[str, Field(max_length=2000), AfterValidator(check_paragraphs)]


class EpochBody(BaseModel):
    """An epoch: its tensors, and what was measured."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tensors: Annotated[dict[Name, Sha256], Field(max_length=MAX_TENSORS)] = Field(
        description="SHA-256 of the file of each tensor of the network, by the tensor's name."
    )
    metrics: Annotated[dict[Name, float | None], Field(max_length=MAX_METRICS)] = Field(
        default_factory=dict,
        description="By name; null if not finite. `train_loss`, `train_accuracy`, `test_loss`, "
        "`test_accuracy`, `learning_rate` and `seconds` are shown like those of a trained run; "
        "accuracies are 0..1.",
    )
    config_changes: dict[str, JsonValue] = Field(
        default_factory=dict, description="Values of `config` that have changed in this epoch."
    )
    steps: Annotated[dict[Name, Points], Field(max_length=MAX_METRICS)] = Field(
        default_factory=dict,
        description="By name, pairs of step and value: metrics within the epoch. Not compared "
        "when the epoch is sent again.",
    )


class MetricsBody(BaseModel):
    """Metrics that were measured after their epoch."""

    model_config = ConfigDict(extra="forbid", strict=True)

    metrics: Annotated[dict[Name, float | None], Field(min_length=1, max_length=MAX_METRICS)] = (
        Field(description="By name; null if not finite.")
    )


class StepsResponse(BaseModel):
    """The step metrics of an epoch."""

    model_config = ConfigDict(from_attributes=True)

    epoch: int
    metrics: dict[str, list[tuple[int, float | None]]] = Field(
        description="By name, pairs of step, counted from the beginning of the training, and value."
    )


class FailureBody(BaseModel):
    """Why the training failed."""

    model_config = ConfigDict(extra="forbid", strict=True)

    detail: Detail = Field(description="Description of the error.")


class LeaseResponse(BaseModel):
    """The right to write for a run."""

    lease: str = Field(description="Value of the header `Camreel-Lease`.")


@router.post("/runs/{run_id}/lease", status_code=201, summary="Take over a recorded run")
@requires(RUN)
@run_in_write_pool
def take_over_run(
    services: Services,
    run_id: RunId,
    reopen: Annotated[
        bool, Query(description="Continue a run that has ended, instead of 409.")
    ] = False,
) -> LeaseResponse:
    """A new lease, for a recorder that was restarted. The previous one becomes stale."""
    return LeaseResponse(lease=services.recordings.take_over(run_id, is_reopened=reopen))


@router.post("/runs/{run_id}/heartbeat", summary="Renew the lease of a recorded run")
@requires(RUN)
@run_in_write_pool
def renew_lease(services: Services, run_id: RunId, lease: Lease) -> RunResponse:
    """Report that the recorder is alive. Without reports for a while, the run is `lost`; the next
    one continues it.
    """
    return run_response(services, services.recordings.heartbeat(run_id, lease))


@router.put(
    "/runs/{run_id}/epochs/{epoch}",
    status_code=201,
    summary="Store an epoch of a recorded run",
    responses={
        200: {"description": "The epoch is stored already.", "model": EpochResponse},
        409: {
            "description": "The lease is stale, the run has ended, the epoch is not the next one, "
            "or it is stored with another content."
        },
    },
)
@requires(RUN)
@run_in_write_pool
def create_epoch(
    services: Services,
    response: Response,
    run_id: RunId,
    epoch: EpochNumber,
    lease: Lease,
    body: Annotated[EpochBody, Body()],
) -> EpochResponse:
    """Epochs follow each other from 0 on. The same epoch with the same content is stored once.

    422 where tensors do not fit the network (`errors`), or are not stored: `missing` has the
    SHA-256 of each, to be sent by `PUT /tensors/{sha256}`. Send the epoch again afterwards.
    """
    content = RecordedEpoch(body.tensors, body.metrics, body.config_changes, body.steps)
    stored_epoch, is_new = services.recordings.put_epoch(run_id, lease, epoch, content)
    response.status_code = 201 if is_new else 200
    return epoch_response(stored_epoch)


@router.post(
    "/runs/{run_id}/epochs/{epoch}/metrics",
    summary="Add metrics to an epoch of a recorded run",
    responses={
        409: {"description": "The lease is stale, or the epoch has a metric with another value."}
    },
)
@requires(RUN)
@run_in_write_pool
def add_metrics(
    services: Services,
    run_id: RunId,
    epoch: EpochNumber,
    lease: Lease,
    body: Annotated[MetricsBody, Body()],
) -> EpochResponse:
    """Metrics that were measured after the epoch was sent, each name once."""
    return epoch_response(services.recordings.add_metrics(run_id, lease, epoch, body.metrics))


@router.get("/runs/{run_id}/steps", summary="List the step metrics of a recorded run")
@requires(READ)
def list_steps(
    services: Services, run_id: RunId, limit: PageLimit = 50, cursor: Cursor = None
) -> Page[StepsResponse]:
    """Metrics within the epochs, in ascending order of the epochs that have some."""
    after = decode_cursor(cursor)
    with services.store.read_session() as session:
        rows = step_metrics.list_epochs(
            session, run_id, after=-1 if after is None else after, limit=limit + 1
        )
    return paginate(rows, limit, StepsResponse.model_validate, lambda steps: steps.epoch)


@router.post("/runs/{run_id}/finish", summary="End a recorded run")
@requires(RUN)
@run_in_write_pool
def finish_run(services: Services, run_id: RunId, lease: Lease) -> RunResponse:
    """The run has succeeded. Repeating it has no effect."""
    return run_response(services, services.recordings.finish(run_id, lease))


@router.post("/runs/{run_id}/fail", summary="End a recorded run with an error")
@requires(RUN)
@run_in_write_pool
def fail_run(
    services: Services, run_id: RunId, lease: Lease, body: Annotated[FailureBody, Body()]
) -> RunResponse:
    """The run has failed. Repeating it with the same error has no effect."""
    return run_response(services, services.recordings.finish(run_id, lease, body.detail))


@router.put(
    "/runs/{run_id}/probes/{position}",
    status_code=204,
    summary="Store a probe of a recorded run",
    responses={
        204: {"description": "The probe is stored."},
        409: {"description": "Another image is stored there, or the run has epochs already."},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
@requires(RUN)
async def create_probe(
    services: Services,
    request: Request,
    run_id: RunId,
    position: Annotated[int, Path(ge=0, lt=MAX_PROBES, description="0 for the first probe.")],
    lease: Lease,
    label: Annotated[
        int | None, Query(ge=0, lt=2**31, description="Index of the image's class, if known.")
    ] = None,
) -> None:
    """An image of which maps are wanted at every epoch: the pixels that the network saw.

    A PNG of 8 bits, gray or RGB, of the network's input size. Sent before the first epoch.
    """
    try:
        png = await request.body()
    except ClientDisconnect as error:
        raise HTTPException(400, "The request body is incomplete.") from error
    await run_in_pool(
        services.thread_pools[PoolName.WRITING],
        lambda: services.recordings.put_probe(run_id, lease, position, png, label),
    )
