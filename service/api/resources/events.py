"""Server-sent events of runs, jobs and experiments."""

import re
from collections.abc import AsyncIterator, Collection
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BeforeValidator

from service.api.event_streams.experiments import ExperimentPoller, ExperimentSubscription
from service.api.event_streams.jobs import JobPoller, JobSubscription
from service.api.event_streams.runs import RunPoller, RunSubscription
from service.api.event_streams.stream import stream_events
from service.api.event_streams.subscriptions import Subscription
from service.api.pagination import RunId, require_digits
from service.api.request_context import client_address, request_context
from service.api.scopes import requires
from service.api.services import ApiServices, Services
from service.counts import Count
from service.errors import InvalidValue, RunNotFound
from service.flows.access import LOCAL_USER
from service.store import runs
from service.store.runs import Run
from service.store.tokens import READ

router = APIRouter(tags=["runs"])

MAX_NUMBER = 2**31 - 1
MAX_ID = 2**63 - 1
MAX_RUNS = 200
MAX_JOBS = 200
MAX_EXPERIMENTS = 20
IDS = re.compile(r"\d{1,19}(,\d{1,19})*", re.ASCII)
CURSOR = re.compile(r"\d{1,19}:\d{1,10}(,\d{1,19}:\d{1,10})*", re.ASCII)

LIMITS_DESCRIPTION = (
    "The number of open streams is limited per token, or per address without one "
    "(CAMREEL_MAX_CLIENT_STREAMS), and in total (CAMREEL_MAX_STREAMS). Beyond that the response is "
    "429."
)

RUN_DESCRIPTION = f"""
Events of the stream:

- `status`: the run, as in `GET /runs/{{run_id}}`. A past status comes with the run as it was then.
- `epoch`: the epoch, as in `GET /runs/{{run_id}}/epochs/{{epoch}}`.
- `progress`: `{{"epoch", "images_seen", "images_total"}}` of the epoch in training, and `phase`,
  `queue_position` and `seconds_per_epoch` as in `GET /runs/{{run_id}}`, which `status` events leave
  null; after a change, at most four times per second.

The `id` of `status` and `epoch` events is their number in the run: 1, 2, 3 ... `progress` events
have none. The stream begins with the run's first event, or after the one given by `Last-Event-ID`
or `after`, and ends when the run has ended and all events are sent. A resumed run has ended
before: read the run and follow it from its `last_event`.

{LIMITS_DESCRIPTION}
"""

STREAM_DESCRIPTION = f"""
One stream for up to {MAX_RUNS} runs: the events of `GET /runs/{{run_id}}/events`, with the run's id
as `run_id` in their `data`. Events of one run are in order. There is no order between runs.
`gone`, `{{"run_id"}}` without an `id`, means that the run does not exist or was deleted. The stream
ends when every run has ended or is gone and all events are sent. If a run is resumed after its
end, open a new stream.

`jobs=` adds up to {MAX_JOBS} jobs. `job`, without an `id`, is the job as in `GET /jobs/{{job_id}}`,
with its id as `job_id`: first its current state, then each change of status or progress. `gone`,
`{{"job_id"}}`, means that the job does not exist or was removed.

`experiments=` adds up to {MAX_EXPERIMENTS} experiments. `experiment`, without an `id`, is the
experiment as in `GET /experiments`, with its id as `experiment_id`: first its current progress,
then each change, until no run is queued or running. `gone`, `{{"experiment_id"}}`, means that the
experiment does not exist or was deleted.

Each `id` is a cursor: `run:number` for each run with sent events, in ascending order, as in
`1:12,7:3`. Given as `Last-Event-ID` or `after`, it continues the stream without gaps or
repetitions. A run that is missing in the cursor begins with its first event. To continue from a
run that was read, use its `last_event`.

{LIMITS_DESCRIPTION}
"""

EVENT_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/event-stream": {
                "itemSchema": {
                    "type": "object",
                    "properties": {
                        "event": {"type": "string"},
                        "data": {"type": "string"},
                        "id": {"type": "string"},
                    },
                }
            }
        }
    }
}


class EventStreamResponse(StreamingResponse):
    """A stream that browsers do not store and nginx does not buffer."""

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncIterator[bytes], status_code: int = 200) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(chunks, status_code, headers)


EventNumber = Annotated[int | None, BeforeValidator(require_digits)]


async def _hold_stream_slot(request: Request, services: Services) -> AsyncIterator[None]:
    """Hold a stream slot until the response has ended. Raises TooManyStreams."""
    principal = request_context(request.scope).principal
    client = (
        client_address(request.scope)
        if principal is None or principal is LOCAL_USER
        else principal.rate_limit_key
    )
    with services.stream_slots.acquire(client):
        yield


async def _run_subscription(
    services: Services,
    run_id: RunId,
    after: Annotated[
        EventNumber, Query(ge=0, le=MAX_NUMBER, description="Number of the last event received.")
    ] = None,
    last_event_id: Annotated[
        EventNumber,
        Header(
            alias="Last-Event-ID",
            ge=0,
            le=MAX_NUMBER,
            description="Overrides `after`.",
        ),
    ] = None,
) -> RunSubscription:
    # A browser reconnects to its first URL, with a later number in Last-Event-ID.
    number = (after or 0) if last_event_id is None else last_event_id
    field = "after" if last_event_id is None else "Last-Event-ID"
    run = (await _read_runs(services, [run_id])).get(run_id)
    if run is None:
        raise RunNotFound(run_id)
    return _new_run_subscription(services, run_id, run, number, field, sends_gone=False)


async def _subscriptions(
    services: Services,
    run_ids: Annotated[
        list[str] | None,
        Query(
            alias="runs",
            description=f"1 to {MAX_RUNS} run ids, separated by commas.",
            examples=["1,2,3"],
        ),
    ] = None,
    job_ids: Annotated[
        list[str] | None,
        Query(
            alias="jobs",
            description=f"1 to {MAX_JOBS} job ids, comma-separated; `runs`, `jobs` or "
            "`experiments` is required.",
            examples=["1"],
        ),
    ] = None,
    experiment_ids: Annotated[
        list[str] | None,
        Query(
            alias="experiments",
            description=f"1 to {MAX_EXPERIMENTS} experiment ids, separated by commas.",
            examples=[None],
        ),
    ] = None,
    after: Annotated[
        str | None, Query(description="Cursor of the last event received.", examples=["1:12,3:7"])
    ] = None,
    last_event_id: Annotated[
        str | None, Header(alias="Last-Event-ID", description="Overrides `after`.")
    ] = None,
) -> list[Subscription]:
    """Parsed before the stream begins, so that errors still become problem responses."""
    has_others = job_ids or experiment_ids
    ids = _parse_ids("runs", run_ids, MAX_RUNS) if run_ids or not has_others else []
    jobs = _parse_ids("jobs", job_ids, MAX_JOBS) if job_ids else []
    experiments = (
        _parse_ids("experiments", experiment_ids, MAX_EXPERIMENTS) if experiment_ids else []
    )
    field, cursor = ("after", after) if last_event_id is None else ("Last-Event-ID", last_event_id)
    numbers = {} if cursor is None else _parse_cursor(field, cursor, ids)
    run_by_id = await _read_runs(services, ids) if ids else {}
    run_subscriptions = [
        _new_run_subscription(
            services, run_id, run_by_id.get(run_id), numbers.get(run_id, 0), field, sends_gone=True
        )
        for run_id in ids
    ]
    return [
        *run_subscriptions,
        *await _job_subscriptions(services, jobs),
        *await _experiment_subscriptions(services, experiments),
    ]


@router.get(
    "/runs/{run_id}/events",
    summary="Follow a run",
    description=RUN_DESCRIPTION,
    response_class=EventStreamResponse,
    responses=EVENT_STREAM,
    dependencies=[Depends(_hold_stream_slot)],
)
@requires(READ)
async def read_events(
    services: Services, subscription: Annotated[RunSubscription, Depends(_run_subscription)]
) -> EventStreamResponse:
    """See RUN_DESCRIPTION."""
    return EventStreamResponse(
        stream_events(services.event_broker, [subscription], multiplexed=False)
    )


@router.get(
    "/events",
    summary="Follow several runs, jobs and experiments",
    description=STREAM_DESCRIPTION,
    response_class=EventStreamResponse,
    responses=EVENT_STREAM,
    dependencies=[Depends(_hold_stream_slot)],
)
@requires(READ)
async def read_all_events(
    services: Services, subscriptions: Annotated[list[Subscription], Depends(_subscriptions)]
) -> EventStreamResponse:
    """See STREAM_DESCRIPTION."""
    return EventStreamResponse(
        stream_events(services.event_broker, subscriptions, multiplexed=True)
    )


async def _read_runs(services: ApiServices, ids: Collection[int]) -> dict[int, Run]:
    def query() -> dict[int, Run]:
        with services.store.read_session() as session:
            return runs.get_many(session, ids)

    return await services.event_broker.read(query)


def _new_run_subscription(
    services: ApiServices,
    run_id: int,
    run: Run | None,
    number: int,
    field: str,
    *,
    sends_gone: bool,
) -> RunSubscription:
    """Subscribe from the event after `number`. Raises InvalidValue if it exceeds the last one."""
    if run is not None and number > run.last_event:
        raise InvalidValue(
            field,
            f"run {run_id} has {Count(run.last_event):event|events} so far",
            {"minimum": 0, "maximum": run.last_event},
        )
    poller = services.event_broker.get_poller(RunPoller, lambda: RunPoller(services))
    return RunSubscription(poller, run_id, run, number, sends_gone=sends_gone)


async def _job_subscriptions(services: ApiServices, ids: Collection[int]) -> list[Subscription]:
    if not ids:
        return []
    poller = services.event_broker.get_poller(JobPoller, lambda: JobPoller(services))
    job_by_id = await services.event_broker.read(lambda: poller.poll(list(ids)))
    return [JobSubscription(poller, job_id, job_by_id.get(job_id)) for job_id in ids]


async def _experiment_subscriptions(
    services: ApiServices, ids: Collection[int]
) -> list[Subscription]:
    if not ids:
        return []
    poller = services.event_broker.get_poller(ExperimentPoller, lambda: ExperimentPoller(services))
    states = await services.event_broker.read(lambda: poller.poll(list(ids)))
    return [ExperimentSubscription(poller, one_id, states.get(one_id)) for one_id in ids]


def _parse_ids(field: str, texts: list[str] | None, max_items: int) -> list[int]:
    """Distinct ids in ascending order. Raises InvalidValue."""
    text = ",".join(texts or [])
    parts = text.split(",")
    ids = sorted({int(part) for part in parts}) if IDS.fullmatch(text) else []
    if not ids or len(parts) > max_items or not 1 <= ids[0] <= ids[-1] <= MAX_ID:
        raise InvalidValue(
            field,
            f"must be 1 to {max_items} ids of {field}, separated by commas",
            {"minItems": 1, "maxItems": max_items, "minimum": 1, "maximum": MAX_ID},
        )
    return ids


def _parse_cursor(field: str, text: str, ids: list[int]) -> dict[int, int]:
    """Event numbers by run id. Raises InvalidValue, also for a run that is not in `ids`."""
    pairs = [part.split(":") for part in text.split(",")] if CURSOR.fullmatch(text) else []
    numbers = {int(run_id): int(number) for run_id, number in pairs}
    has_duplicates = len(numbers) < len(pairs)
    if not numbers or has_duplicates or not numbers.keys() <= set(ids):
        raise InvalidValue(
            field,
            "must be run:number pairs of this stream's runs, without duplicates",
            {"pattern": f"^{CURSOR.pattern}$", "maxItems": MAX_RUNS},
        )
    return numbers
