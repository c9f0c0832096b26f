"""The services that endpoints call: one set per application, in `app.state.services`."""

from dataclasses import dataclass, fields
from typing import Annotated

from anyio import CapacityLimiter
from fastapi import Depends, Request

from service.api.event_streams.broker import EventBroker, StreamSlots
from service.api.metrics import CountingCache, Metrics
from service.api.prepared_answers import PreparedAnswers
from service.api.work import Content
from service.flows import services as flow_services
from service.flows.cache import Cache
from service.flows.service_stats import read_service_stats
from service.settings import Settings

MAX_CONCURRENT_UPLOADS = 32  # received or waiting to be decoded, one at a time; beyond it 503
HEALTH_THREADS = 2
ANSWER_CACHE_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class ApiServices(flow_services.ServiceSet):
    """The flows' services, plus event streams, metrics and limits on requests."""

    event_broker: EventBroker
    stream_slots: StreamSlots
    metrics: Metrics
    answers: Cache[Content]
    prepared_answers: PreparedAnswers
    upload_slots: CapacityLimiter  # for uploads of images
    health_threads: CapacityLimiter  # for /readyz and /metrics


def open_services(settings: Settings) -> ApiServices:
    """Open the settings' database and create the services of a server.

    Raises SchemaMismatch for a database that another version made.
    """
    flows = flow_services.open_services(settings)
    slots = StreamSlots(settings.max_streams, settings.max_client_streams)
    answers: Cache[Content] = Cache(ANSWER_CACHE_BYTES, lambda content: len(content.body))
    prepared_answers = PreparedAnswers(flows.store.read_version)
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
        ),
        upload_slots=CapacityLimiter(MAX_CONCURRENT_UPLOADS),
        health_threads=CapacityLimiter(HEALTH_THREADS),
    )


async def _services(request: Request) -> ApiServices:
    services: ApiServices = request.app.state.services
    return services


Services = Annotated[ApiServices, Depends(_services)]
