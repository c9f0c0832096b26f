"""The services that endpoints call: one set per application, in `app.state.services`."""

from dataclasses import dataclass, fields
from math import ceil
from typing import Annotated

from anyio import CapacityLimiter
from fastapi import Depends, Request

from service.api.event_streams.broker import EventBroker, StreamSlots
from service.api.metrics import CountingCache, Metrics
from service.api.prepared_answers import PreparedAnswers
from service.api.sharing import Sharing
from service.api.work import Content
from service.background import BackgroundTask
from service.flows import services as flow_services
from service.flows.cache import Cache
from service.flows.service_stats import read_service_stats
from service.settings import Settings

MAX_CONCURRENT_UPLOADS = 32  # received or waiting to be decoded, one at a time; beyond it 503
MAX_CONCURRENT_DATASET_UPLOADS = 2
MAX_CONCURRENT_TENSORS = 16  # each holds up to two parts of 4 MiB in memory; beyond it 503
HEALTH_THREADS = 2
METRICS_REPORT_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class ApiServices(flow_services.ServiceSet):
    """The flows' services, plus event streams, metrics and limits on requests."""

    event_broker: EventBroker
    stream_slots: StreamSlots
    metrics: Metrics
    answers: Cache[Content]
    prepared_answers: PreparedAnswers
    upload_slots: CapacityLimiter  # for uploads of images
    dataset_upload_slots: CapacityLimiter  # for archives that are being received
    tensor_slots: CapacityLimiter  # for uploads of tensors
    health_threads: CapacityLimiter  # for /readyz and /metrics

    def start(self) -> None:
        """Start the background threads, and dispatch the queued runs if elected."""
        super().start()
        if self.metrics.is_shared:
            report = self.metrics.report
            task = BackgroundTask("metrics", report, interval_seconds=METRICS_REPORT_SECONDS)
            self.background.add(task)

    def close(self) -> None:
        """End all work and close the store."""
        super().close()
        self.metrics.report()


def open_services(settings: Settings, sharing: Sharing) -> ApiServices:
    """Open the settings' database and create the services of a server.

    Raises SchemaMismatch for a database that another version made.
    """
    flows = flow_services.open_services(settings, is_server=True)
    cache_sizes = flows.pipeline.cache_sizes
    slots = StreamSlots(
        ceil(settings.max_streams / settings.workers),
        ceil(settings.max_client_streams / settings.workers),
    )
    answers: Cache[Content] = Cache(cache_sizes.answers, lambda content: len(content.body))
    prepared_answers = PreparedAnswers(flows.store.read_version, cache_sizes.prepared_answers)
    caches: dict[str, CountingCache] = {
        **flows.pipeline.computer.caches,
        "pictures": flows.pictures.cache,
        "answers": answers,
        "prepared_answers": prepared_answers,
    }
    return ApiServices(
        **{field.name: getattr(flows, field.name) for field in fields(flows)},
        event_broker=EventBroker(),
        answers=answers,
        prepared_answers=prepared_answers,
        stream_slots=slots,
        metrics=Metrics(
            lambda: read_service_stats(flows.store),
            caches,
            lambda: slots.count,
            flows.thread_pools.loads,
            sharing,
        ),
        upload_slots=CapacityLimiter(MAX_CONCURRENT_UPLOADS),
        dataset_upload_slots=CapacityLimiter(MAX_CONCURRENT_DATASET_UPLOADS),
        tensor_slots=CapacityLimiter(MAX_CONCURRENT_TENSORS),
        health_threads=CapacityLimiter(HEALTH_THREADS),
    )


async def _services(request: Request) -> ApiServices:
    services: ApiServices = request.app.state.services
    return services


Services = Annotated[ApiServices, Depends(_services)]
