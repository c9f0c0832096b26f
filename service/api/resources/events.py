"""What happens to runs and jobs, as it happens: server-sent events."""

import re
from collections.abc import AsyncIterator, Collection
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BeforeValidator

from service.api.event_streams.jobs import JobPoller, JobSubscription
from service.api.event_streams.runs import RunPoller, RunSubscription
from service.api.event_streams.stream import stream_events
from service.api.event_streams.subscriptions import Subscription
from service.api.pagination import RunId, require_digits
from service.api.request_context import client_address, request_context
from service.api.scopes import requires
from service.api.services import ApiServices, Services
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
IDS = re.compile(r"\d{1,19}(,\d{1,19})*", re.ASCII)
CURSOR = re.compile(r"\d{1,19}:\d{1,10}(,\d{1,19}:\d{1,10})*", re.ASCII)

LIMITS = (
    "At most CAMREEL_MAX_CLIENT_STREAMS streams of one token, or address without one, and "
    "CAMREEL_MAX_STREAMS in all are open at once; beyond it the answer is 429."
)

RUN_DESCRIPTION = f"""
`status`: the run as `GET /runs/{{run_id}}` has it; `epoch`: the epoch as
`GET /runs/{{run_id}}/epochs/{{epoch}}` has it; both numbered by `id` 1, 2, 3 ... of the run.
`progress`, at most four a second and without an `id`: `{{"epoch", "images_seen",
"images_total"}}` of the epoch in work. The stream begins with the run's first event, or after the
one named by `Last-Event-ID` or `after`, and ends when the run has ended and all is told. A status
that is the run's no more is told with the run as it was then. A run that was trained on has ended
before: follow it from its `last_event` on, as it was read.

{LIMITS}
"""

DESCRIPTION = f"""
One stream for at most {MAX_RUNS} runs: the events of `GET /runs/{{run_id}}/events`, each with the
run's id as `run_id` in its `data`. The events of a run are in order; those of different runs are
in no particular order. `gone`, `{{"run_id"}}` without an `id`: there is no such run, or it was
deleted; the others go on. A run that has ended stays in the stream and costs nothing; the stream
ends when all runs have ended or are gone and all is sent. Nothing is sent of a run that is resumed
after its end: ask for a new stream.

`jobs=` adds at most {MAX_JOBS} jobs: `job`, without an `id`, is the job as `GET /jobs/{{job_id}}`
has it with its id as `job_id`, first as it stands and then whenever its status or progress changes;
`gone`, `{{"job_id"}}`: there is no such job, or it was removed.

Each `id` is a cursor: `run:number` for each run of which an event has been sent, by ascending run,
as in `1:12,7:3`. With it as `Last-Event-ID` or `after` the stream goes on without gap or repeat;
a run that the cursor leaves out begins with its first event. To follow runs as they were read, take
their `last_event`.

{LIMITS}
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
    """Chunks of events that neither a browser stores nor nginx holds back."""

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncIterator[bytes], status_code: int = 200) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(chunks, status_code, headers)


Number = Annotated[int | None, BeforeValidator(require_digits)]


async def _slot(request: Request, services: Services) -> AsyncIterator[None]:
    """Holds one of the streams that may be open, until the response has ended."""
    who = request_context(request.scope).principal
    client = (
        client_address(request.scope) if who is None or who is LOCAL_USER else who.rate_limit_key
    )
    with services.stream_slots.acquire(client):
        yield


async def _run_topic(
    services: Services,
    run_id: RunId,
    after: Annotated[
        Number, Query(ge=0, le=MAX_NUMBER, description="The last event that the client has.")
    ] = None,
    last_event_id: Annotated[
        Number,
        Header(
            alias="Last-Event-ID", ge=0, le=MAX_NUMBER, description="The same, and goes before it."
        ),
    ] = None,
) -> RunSubscription:
    # A client that comes back has the address that it first came with, and a later number.
    number = (after or 0) if last_event_id is None else last_event_id
    field = "after" if last_event_id is None else "Last-Event-ID"
    run = (await _read_runs(services, [run_id])).get(run_id)
    if run is None:
        raise RunNotFound(run_id)
    return _topic(services, run_id, run, number, field, sends_gone=False)


async def _topics(
    services: Services,
    run_ids: Annotated[
        list[str] | None,
        Query(
            alias="runs",
            description=f"Ids of 1 to {MAX_RUNS} runs, separated by commas.",
            examples=["1,2,3"],
        ),
    ] = None,
    job_ids: Annotated[
        list[str] | None,
        Query(
            alias="jobs",
            description=f"Ids of 1 to {MAX_JOBS} jobs, separated by commas. Either is required.",
            examples=["1"],
        ),
    ] = None,
    after: Annotated[
        str | None, Query(description="A cursor: what the client has.", examples=["1:12,3:7"])
    ] = None,
    last_event_id: Annotated[
        str | None, Header(alias="Last-Event-ID", description="The same, and goes before it.")
    ] = None,
) -> list[Subscription]:
    """Before the stream begins, so that what is wrong can still be answered as a problem."""
    ids = _parse_ids("runs", run_ids, MAX_RUNS) if run_ids or not job_ids else []
    jobs = _parse_ids("jobs", job_ids, MAX_JOBS) if job_ids else []
    field, cursor = ("after", after) if last_event_id is None else ("Last-Event-ID", last_event_id)
    numbers = {} if cursor is None else _parse_cursor(field, cursor, ids)
    run_by_id = await _read_runs(services, ids) if ids else {}
    runs_followed = [
        _topic(
            services, run_id, run_by_id.get(run_id), numbers.get(run_id, 0), field, sends_gone=True
        )
        for run_id in ids
    ]
    return [*runs_followed, *await _job_topics(services, jobs)]


@router.get(
    "/runs/{run_id}/events",
    summary="A run as it happens",
    description=RUN_DESCRIPTION,
    response_class=EventStreamResponse,
    responses=EVENT_STREAM,
    dependencies=[Depends(_slot)],
)
@requires(READ)
async def read_events(
    services: Services, topic: Annotated[RunSubscription, Depends(_run_topic)]
) -> EventStreamResponse:
    """See RUN_DESCRIPTION."""
    return EventStreamResponse(stream_events(services.event_broker, [topic], multiplexed=False))


@router.get(
    "/events",
    summary="Several runs and jobs as they happen",
    description=DESCRIPTION,
    response_class=EventStreamResponse,
    responses=EVENT_STREAM,
    dependencies=[Depends(_slot)],
)
@requires(READ)
async def read_all_events(
    services: Services, topics: Annotated[list[Subscription], Depends(_topics)]
) -> EventStreamResponse:
    """See DESCRIPTION."""
    return EventStreamResponse(stream_events(services.event_broker, topics, multiplexed=True))


async def _read_runs(services: ApiServices, ids: Collection[int]) -> dict[int, Run]:
    def query() -> dict[int, Run]:
        with services.store.read_session() as session:
            return runs.get_many(session, ids)

    return await services.event_broker.read(query)


def _topic(
    services: ApiServices,
    run_id: int,
    run: Run | None,
    number: int,
    field: str,
    *,
    sends_gone: bool,
) -> RunSubscription:
    """A run from the event after `number` on. Raises InvalidValue for one beyond its last."""
    if run is not None and number > run.last_event:
        raise InvalidValue(
            field,
            f"run {run_id} has told {run.last_event} events so far",
            {"minimum": 0, "maximum": run.last_event},
        )
    source = services.event_broker.get_poller(RunPoller, lambda: RunPoller(services))
    return RunSubscription(source, run_id, run, number, sends_gone=sends_gone)


async def _job_topics(services: ApiServices, ids: Collection[int]) -> list[Subscription]:
    if not ids:
        return []
    source = services.event_broker.get_poller(JobPoller, lambda: JobPoller(services))
    job_by_id = await services.event_broker.read(lambda: source.poll(list(ids)))
    return [JobSubscription(source, job_id, job_by_id.get(job_id)) for job_id in ids]


def _parse_ids(field: str, texts: list[str] | None, most: int) -> list[int]:
    """Distinct ids in ascending order. Raises InvalidValue."""
    text = ",".join(texts or [])
    parts = text.split(",")
    ids = sorted({int(part) for part in parts}) if IDS.fullmatch(text) else []
    if not ids or len(parts) > most or not 1 <= ids[0] <= ids[-1] <= MAX_ID:
        raise InvalidValue(
            field,
            f"ids of 1 to {most} {field}, separated by commas",
            {"minItems": 1, "maxItems": most, "minimum": 1, "maximum": MAX_ID},
        )
    return ids


def _parse_cursor(field: str, text: str, ids: list[int]) -> dict[int, int]:
    """Event numbers by run. Raises InvalidValue, also for a run that is not one of `ids`."""
    pairs = [part.split(":") for part in text.split(",")] if CURSOR.fullmatch(text) else []
    numbers = {int(run_id): int(number) for run_id, number in pairs}
    distinct = len(numbers) == len(pairs)
    if not numbers or not distinct or not numbers.keys() <= set(ids):
        raise InvalidValue(
            field,
            "run:number for runs of this stream, each at most once, separated by commas",
            {"pattern": f"^{CURSOR.pattern}$", "maxItems": MAX_RUNS},
        )
    return numbers
