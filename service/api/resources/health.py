"""Liveness, readiness and metrics."""

import asyncio

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from service.api.scopes import PUBLIC, requires
from service.api.services import Services
from service.api.work import Content
from service.errors import NotReady
from service.flows.readiness import ANSWER_SECONDS, NO_ANSWER
from service.store.tokens import READ

router = APIRouter(tags=["health"])


class HealthResponse(BaseModel):
    """The state of the service."""

    status: str


@router.get("/healthz", summary="Liveness", response_model=HealthResponse)
@requires(PUBLIC)
async def read_health(services: Services, request: Request) -> Response:
    """The process is up. Uses neither the database nor a thread."""
    body = HealthResponse(status="ok").model_dump_json().encode()
    content = Content.of(body, "application/json")
    services.prepared_answers.put_constant(request.scope, content)
    return content.response(request)


@router.get("/readyz", summary="Readiness")
@requires(PUBLIC)
async def read_readiness(services: Services) -> HealthResponse:
    """503 with the reasons while the service cannot store data or train runs.

    Writes to the database. Responds within two seconds even if the database does not.
    """
    reasons = services.readiness.problems()
    check = asyncio.wrap_future(services.readiness.start())
    completed_checks, _ = await asyncio.wait([check], timeout=ANSWER_SECONDS)
    if reason := (check.result() if completed_checks else NO_ANSWER):
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
    """Metrics in Prometheus' text format."""
    text = await to_thread.run_sync(services.metrics.exposition, limiter=services.health_threads)
    return Response(text, media_type="text/plain; version=0.0.4")
