"""Whether the service lives, whether it can work, and what it counts."""

import asyncio

from anyio import to_thread
from fastapi import APIRouter, Response
from pydantic import BaseModel

from service.api.scopes import PUBLIC, requires
from service.api.services import Services
from service.errors import NotReady
from service.flows.readiness import ANSWER_SECONDS, NO_ANSWER
from service.store.tokens import READ

router = APIRouter(tags=["health"])


class HealthResponse(BaseModel):
    """One word."""

    status: str


@router.get("/healthz", summary="The process answers")
@requires(PUBLIC)
async def read_health() -> HealthResponse:
    """Liveness: asks nothing of the database, and waits for no thread."""
    return HealthResponse(status="ok")


@router.get("/readyz", summary="The service can store and train")
@requires(PUBLIC)
async def read_readiness(services: Services) -> HealthResponse:
    """Readiness: 503 with the reasons while nothing could be stored or no run could be trained.

    Writes to the database, and answers within two seconds whether the database does or not.
    """
    reasons = services.readiness.reasons()
    check = asyncio.wrap_future(services.readiness.start())
    done, _ = await asyncio.wait([check], timeout=ANSWER_SECONDS)
    if reason := (check.result() if done else NO_ANSWER):
        reasons.append(reason)
    if reasons:
        raise NotReady(" ".join(reasons))
    return HealthResponse(status="ready")


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
)
@requires(READ)
async def read_metrics(services: Services) -> Response:
    """Prometheus' text format."""
    text = await to_thread.run_sync(services.metrics.exposition, limiter=services.health_threads)
    return Response(text, media_type="text/plain; version=0.0.4")
