"""A run as it happens: server-sent events."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, BeforeValidator

from service.api import epochs as epochs_api
from service.api import runs as runs_api
from service.api.pages import RunId, digits
from service.api.services import Services
from service.errors import InvalidValue
from service.flows.news import News, news_after
from service.store import events, runs
from service.store.epochs import Epoch
from service.store.runs import RUNNING, TERMINAL, Pulse

router = APIRouter(tags=["runs"])

PROGRESS_SECONDS = 0.25
MAX_NUMBER = 2**31 - 1

DESCRIPTION = """
`status`: the run as `GET /runs/{run_id}` has it; `epoch`: the epoch as
`GET /runs/{run_id}/epochs/{epoch}` has it; both numbered by `id` 1, 2, 3 ... of the run.
`progress`, at most four a second and without an `id`: `{"epoch", "images_seen", "images_total"}` of
the epoch in work. The stream begins with the run's first event, or after the one named by
`Last-Event-ID` or `after`, and ends when the run has ended and all is told. A status that is the
run's no more is told with the run as it was then. A run that was trained on has ended before:
follow it from its `last_event` on, as it was read.
"""


class ProgressData(BaseModel):
    """How far the epoch in work is."""

    epoch: int
    images_seen: int
    images_total: int


@dataclass(frozen=True)
class Start:
    """Where a stream begins."""

    run_id: int
    number: int  # of the last event that the client has
    images_of_epoch: int


Number = Annotated[int | None, BeforeValidator(digits)]


def _start(
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
) -> Start:
    """Before the stream begins, so that what is wrong can still be answered as a problem."""
    # A client that comes back has the address that it first came with, and a later number.
    number = (after or 0) if last_event_id is None else last_event_id
    with services.store.reading() as session:
        run = runs.get(session, run_id)
    if number > run.last_event:
        field = "after" if last_event_id is None else "Last-Event-ID"
        raise InvalidValue(
            field,
            f"the run has told {run.last_event} events so far",
            {"minimum": 0, "maximum": run.last_event},
        )
    return Start(run_id, number, run.spec["samples_per_epoch"])


@router.get(
    "/runs/{run_id}/events",
    summary="A run as it happens",
    description=DESCRIPTION,
    response_class=EventSourceResponse,
)
async def read_events(
    services: Services, start: Annotated[Start, Depends(_start)]
) -> AsyncIterator[ServerSentEvent]:
    """See DESCRIPTION. A silent stream has a comment every 15 seconds."""
    number, progress = start.number, _Progress(start.images_of_epoch)
    async with services.watches.of(start.run_id) as watch:
        looks = 0
        while not watch.closed:
            await watch.newer_than(looks, progress.seconds_left)
            looks, pulse = watch.looks, watch.pulse
            if pulse is None:
                return
            while number < pulse.last_event:
                query = partial(_rendered, services, start.run_id, number)
                news = await services.watches.read(query)
                if not news:
                    return
                for number, event in news:  # noqa: B007  it is the stream's own
                    yield event
            if pulse.status in TERMINAL:
                return
            if (moved := progress.due(pulse)) is not None:
                yield moved


class _Progress:
    """What was last told of an epoch in work, and when."""

    def __init__(self, images_of_epoch: int) -> None:
        self._images_of_epoch = images_of_epoch
        self._told: ProgressData | None = None
        self._told_at = float("-inf")
        self._waits = False

    @property
    def seconds_left(self) -> float | None:
        """Until what waits may be told; None where nothing does."""
        if not self._waits:
            return None
        return max(0.0, self._told_at + PROGRESS_SECONDS - time.monotonic())

    def due(self, pulse: Pulse) -> ServerSentEvent | None:
        """The event, if there is something new and it is time."""
        now = ProgressData(
            epoch=pulse.epochs_done + 1,
            images_seen=pulse.images_seen,
            images_total=self._images_of_epoch,
        )
        self._waits = pulse.status == RUNNING and now != self._told
        if not self._waits or self.seconds_left:
            return None
        self._waits, self._told, self._told_at = False, now, time.monotonic()
        return ServerSentEvent(event="progress", raw_data=now.model_dump_json())


def _rendered(services: Services, run_id: int, number: int) -> list[tuple[int, ServerSentEvent]]:
    found = news_after(services.store, run_id, number)
    return [(news.number, _event(services, news)) for news in found]


def _event(services: Services, news: News) -> ServerSentEvent:
    kind, answer = (
        (events.EPOCH, epochs_api.answer(news.tells))
        if isinstance(news.tells, Epoch)
        else (events.STATUS, runs_api.answer(services, news.tells))
    )
    return ServerSentEvent(event=kind, id=str(news.number), raw_data=answer.model_dump_json())
