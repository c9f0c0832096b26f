"""Whether the service lives, whether it can work, and what it counts."""

from anyio import to_thread
from fastapi import APIRouter, Response
from pydantic import BaseModel

from service.api.services import Services
from service.errors import NotReady
from service.flows.vitals import reasons_not_ready

router = APIRouter(tags=["health"])


class HealthAnswer(BaseModel):
    """One word."""

    status: str


@router.get("/healthz", summary="The process answers")
async def read_health() -> HealthAnswer:
    """Liveness: asks nothing of the database, and waits for no thread."""
    return HealthAnswer(status="ok")


@router.get("/readyz", summary="The service can store and train")
async def read_readiness(services: Services) -> HealthAnswer:
    """Readiness: 503 with the reasons while nothing could be stored or no run could be trained."""

    def find_reasons() -> list[str]:
        return reasons_not_ready(services.store, services.executor, services.background)

    if reasons := await to_thread.run_sync(find_reasons, limiter=services.health_threads):
        raise NotReady(" ".join(reasons))
    return HealthAnswer(status="ready")


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
)
async def read_metrics(services: Services) -> Response:
    """Prometheus' text format."""
    text = await to_thread.run_sync(services.metrics.exposition, limiter=services.health_threads)
    return Response(text, media_type="text/plain; version=0.0.4")
