"""Epochs: metrics and checkpoints."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from service.api.caching import conditional
from service.api.pagination import (
    Cursor,
    EpochNumber,
    Page,
    PageLimit,
    RunId,
    decode_cursor,
    paginate,
)
from service.api.scopes import requires
from service.api.services import Services
from service.core.recorded_spec import parse_spec
from service.flows.checkpoints import load_verified_checkpoint, load_weights
from service.flows.maps.resolve import require_usable
from service.store import epochs, runs
from service.store.epochs import Epoch
from service.store.run_status import RunSource
from service.store.tokens import READ

router = APIRouter(tags=["epochs"])


class CheckpointResponse(BaseModel):
    """Digest and size of a checkpoint."""

    sha256: str
    bytes: int


class EpochResponse(BaseModel):
    """Metrics of an epoch. Losses are mean cross-entropy in nats, accuracies 0..1."""

    epoch: int
    train_loss: float | None = Field(description="During training, with dropout; null for epoch 0.")
    train_accuracy: float | None
    test_loss: float | None = Field(
        description="Null only for a recorded epoch without it, like the other measures."
    )
    test_accuracy: float | None
    per_class_accuracy: list[float] = Field(description="Empty for a recorded epoch.")
    learning_rate: float | None
    seconds: float | None
    metrics: dict[str, float | None] | None = Field(
        description="Of a recorded epoch: all that the recorder has measured, by name."
    )
    config_changes: dict[str, Any] | None = Field(
        description="Of a recorded epoch: values of `config` that changed in it."
    )
    late_metrics: list[str] | None = Field(
        description="Names of the `metrics` that came after the epoch; null if none did."
    )
    checkpoint: CheckpointResponse
    quarantine_reason: str | None = Field(
        description="Null, or why the checkpoint is no longer used: missing, truncated, corrupt, "
        "swapped or unreadable. The metrics remain as recorded."
    )
    created_at: datetime


def epoch_response(epoch: Epoch) -> EpochResponse:
    """The epoch as a response."""
    return EpochResponse(
        epoch=epoch.epoch,
        **vars(epoch.metrics),
        checkpoint=CheckpointResponse(sha256=epoch.checkpoint.sha256, bytes=epoch.checkpoint.bytes),
        quarantine_reason=epoch.quarantine_reason,
        created_at=epoch.created_at,
    )


@router.get("/runs/{run_id}/epochs", summary="List the epochs of a run")
@requires(READ)
def list_epochs(
    services: Services, run_id: RunId, limit: PageLimit = 50, cursor: Cursor = None
) -> Page[EpochResponse]:
    """In ascending order; epoch 0 is the untrained network. Only epochs with a full checkpoint."""
    after = decode_cursor(cursor)
    with services.store.read_session() as session:
        rows = epochs.list_epochs(
            session, run_id, after=-1 if after is None else after, limit=limit + 1
        )
    return paginate(rows, limit, epoch_response, lambda epoch: epoch.epoch)


@router.get("/runs/{run_id}/epochs/{epoch}", summary="Get an epoch")
@requires(READ)
def read_epoch(services: Services, run_id: RunId, epoch: EpochNumber) -> EpochResponse:
    """Metrics, and the digest of the checkpoint."""
    with services.store.read_session() as session:
        return epoch_response(epochs.get(session, run_id, epoch))


@router.get(
    "/runs/{run_id}/epochs/{epoch}/checkpoint",
    summary="Download the checkpoint",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {}, "application/json": {}}},
        206: {"description": "The requested part (`Range`, `If-Range`), to resume a download."},
    },
)
@requires(READ)
def read_checkpoint(
    services: Services, request: Request, run_id: RunId, epoch: EpochNumber
) -> Response:
    """A safetensors file. Its metadata contains the architecture and the epoch. Of a recorded run:
    JSON with the network and the SHA-256 of each tensor.
    """
    with services.store.read_session() as session:
        record = epochs.get(session, run_id, epoch)
        run = runs.get(session, run_id)
    require_usable(record)
    is_recorded = run.source is RunSource.RECORDED
    load = load_verified_checkpoint if is_recorded else load_weights
    response = conditional(
        request,
        record.checkpoint.sha256,
        lambda: load(services.store, record, parse_spec(run.spec)),
        "application/json" if is_recorded else "application/octet-stream",
    )
    name = f"run-{run_id}-epoch-{epoch}.{'json' if is_recorded else 'safetensors'}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
