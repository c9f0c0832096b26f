"""What the endpoints call: one set an application, put on `app.state` when it starts."""

from dataclasses import dataclass
from typing import Annotated

from anyio import CapacityLimiter
from fastapi import Depends, Request

from service.api.event_hub import EventHub, StreamSlots
from service.api.metrics import Metrics
from service.background import BackgroundTasks
from service.flows.atlas import Atlases
from service.flows.gate import Gate
from service.flows.heatmaps import Pictures
from service.flows.jobs import Jobs
from service.flows.lanes import Lanes
from service.flows.readiness import ReadinessProbe
from service.flows.summaries import Summaries
from service.flows.uploads import Uploads
from service.flows.viewing import Viewer
from service.flows.workspace import Workspace
from service.jobs import Executor
from service.store.store import Store


@dataclass(frozen=True)
class ServiceSet:
    """The store, the executor, and what looks at runs."""

    store: Store
    executor: Executor
    workspace: Workspace
    viewer: Viewer
    pictures: Pictures
    atlases: Atlases
    summaries: Summaries
    event_hub: EventHub
    stream_slots: StreamSlots
    metrics: Metrics
    gate: Gate
    uploads: Uploads
    upload_places: CapacityLimiter  # of requests that upload an image
    lanes: Lanes
    jobs: Jobs
    health_threads: CapacityLimiter  # of /readyz and /metrics
    max_queued_runs: int
    background: BackgroundTasks
    readiness: ReadinessProbe


async def _services(request: Request) -> ServiceSet:
    services: ServiceSet = request.app.state.services
    return services


Services = Annotated[ServiceSet, Depends(_services)]
