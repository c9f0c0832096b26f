"""Whether the service lives, whether it can work, and what it counts."""

from fastapi import APIRouter, Response
from pydantic import BaseModel

from service.api.services import Services
from service.store import runs

router = APIRouter(tags=["health"])


class HealthAnswer(BaseModel):
    """One word."""

    status: str


@router.get("/healthz", summary="The process answers")
def read_health() -> HealthAnswer:
    """Liveness: asks nothing of the database."""
    return HealthAnswer(status="ok")


@router.get("/readyz", summary="The database answers too")
def read_readiness(services: Services) -> HealthAnswer:
    """Readiness: 503 while the database does not answer."""
    with services.store.reading() as session:
        runs.count_by_status(session)
    return HealthAnswer(status="ready")


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
)
def read_metrics(services: Services) -> Response:
    """Prometheus' text format."""
    return Response(services.metrics.exposition(), media_type="text/plain; version=0.0.4")
