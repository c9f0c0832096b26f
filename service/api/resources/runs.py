"""Runs: start, list, cancel, resume, delete."""

from typing import Annotated

from fastapi import APIRouter, Body, Query, Response
from pydantic import BaseModel, ConfigDict, Field, PlainValidator

from service.api.concurrency import run_in_write_pool
from service.api.idempotency import REPLAYED_HEADER, BodyRequestKey, set_replayed_header
from service.api.pagination import Cursor, Page, PageLimit, RunId, decode_cursor, paginate
from service.api.run_responses import NewRunResponse, RunResponse, run_response, run_responses
from service.api.scopes import requires
from service.api.services import Services
from service.api.strict_json import StrictJsonRoute
from service.core.experiments.plan import Notes
from service.core.recorded_spec import AnySpec, RecordedSpec
from service.core.schedules import MAX_EPOCHS
from service.core.spec import Name, PartOfName, RunSpec
from service.core.spec import Tag as TagText
from service.flows import deletion
from service.flows import runs as run_flows
from service.store import runs
from service.store.run_status import RunSource, RunStatus
from service.store.tokens import ADMIN, READ, RUN

router = APIRouter(tags=["runs"], route_class=StrictJsonRoute)


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
    responses = run_responses(services, rows)
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
