"""Epochs: what was measured of each, and its checkpoint."""

from datetime import datetime

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
from service.store import epochs
from service.store.epochs import Epoch
from service.store.tokens import READ

router = APIRouter(tags=["epochs"])


class CheckpointResponse(BaseModel):
    """Identity of a checkpoint."""

    sha256: str
    bytes: int


class EpochResponse(BaseModel):
    """What one epoch gave. Losses are mean cross-entropy in nats, accuracies 0..1."""

    epoch: int
    train_loss: float | None = Field(description="While learning, dropout on; null for epoch 0.")
    train_accuracy: float | None
    test_loss: float
    test_accuracy: float
    per_class_accuracy: list[float]
    learning_rate: float
    seconds: float
    checkpoint: CheckpointResponse
    quarantined: str | None = Field(
        description="Null; or why the checkpoint is not used any more: missing, truncated, "
        "corrupt, swapped or unreadable. The measures are those of the day it was recorded."
    )
    created_at: datetime


def answer(epoch: Epoch) -> EpochResponse:
    """The epoch as clients see it."""
    return EpochResponse(
        epoch=epoch.epoch,
        **vars(epoch.metrics),
        checkpoint=CheckpointResponse(sha256=epoch.checkpoint.sha256, bytes=epoch.checkpoint.bytes),
        quarantined=epoch.quarantine_reason,
        created_at=epoch.created_at,
    )


@router.get("/runs/{run_id}/epochs", summary="The epochs of a run, in order")
@requires(READ)
def list_epochs(
    services: Services, run_id: RunId, limit: PageLimit = 50, cursor: Cursor = None
) -> Page[EpochResponse]:
    """Epoch 0 is the untrained network. An epoch is seen only when its checkpoint is whole."""
    after = decode_cursor(cursor)
    with services.store.read_session() as session:
        found = epochs.list_epochs(
            session, run_id, after=-1 if after is None else after, limit=limit + 1
        )
    return paginate(found, limit, answer, lambda epoch: epoch.epoch)


@router.get("/runs/{run_id}/epochs/{epoch}", summary="One epoch")
@requires(READ)
def read_epoch(services: Services, run_id: RunId, epoch: EpochNumber) -> EpochResponse:
    """What was measured of it, and its checkpoint's identity."""
    with services.store.read_session() as session:
        return answer(epochs.get(session, run_id, epoch))


@router.get(
    "/runs/{run_id}/epochs/{epoch}/checkpoint",
    summary="The checkpoint, as safetensors",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {}}},
        206: {"description": "The part that `Range` names, to resume a download (`If-Range`)."},
    },
)
@requires(READ)
def read_checkpoint(
    services: Services, request: Request, run_id: RunId, epoch: EpochNumber
) -> Response:
    """The file; its metadata holds the architecture and the epoch, so that it explains itself."""
    found = services.viewer.epoch(run_id, epoch)
    reply = conditional(
        request,
        found.checkpoint.sha256,
        lambda: services.viewer.checkpoint(found),
        "application/octet-stream",
    )
    name = f"run-{run_id}-epoch-{epoch}.safetensors"
    reply.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return reply
