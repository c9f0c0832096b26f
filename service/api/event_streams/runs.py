"""Runs as event streams follow them."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial

from cachetools import TTLCache
from pydantic import BaseModel

from service.api.event_streams.subscriptions import EncodedEvent, WatchedResource
from service.api.resources import epochs as epochs_api
from service.api.resources import runs as runs_api
from service.api.services import ApiServices
from service.flows.event_states import EventWithState, events_with_state
from service.store import events, runs
from service.store.epochs import Epoch
from service.store.run_status import TERMINAL_STATUSES, RunStatus
from service.store.runs import Run, RunProgress

PROGRESS_SECONDS = 0.25
MAX_SHARED_PAGES = 64
SHARED_SECONDS = 2.0
"""An event tells of rows as they are read. Streams that ask within this time share what was."""

ID_FIELD = "run_id"


class ProgressData(BaseModel):
    """How far the epoch in work is."""

    epoch: int
    images_seen: int
    images_total: int


class RunPoller:
    """Polls runs, and renders their events once for all streams."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services
        self._pages: TTLCache[tuple[int, int, int], asyncio.Task[list[EncodedEvent]]] = TTLCache(
            MAX_SHARED_PAGES, SHARED_SECONDS
        )

    def poll(self, ids: Sequence[int]) -> Mapping[int, RunProgress]:
        """The progress of those that exist, by one query."""
        with self._services.store.read_session() as session:
            return runs.get_progress_of_many(session, ids)

    async def events_after(self, run_id: int, number: int, last_event: int) -> list[EncodedEvent]:
        """The next events of a run that has `last_event` of them; empty for a deleted one."""
        key = run_id, number, last_event
        page = self._pages.get(key)
        if page is None:
            query = partial(self._render, run_id, number)
            page = asyncio.create_task(self._services.event_broker.read_with_retry(query))
            self._pages[key] = page
        try:
            # Shielded: it goes on for the others when one stream ends.
            return await asyncio.shield(page)
        except Exception:
            self._pages.pop(key, None)
            raise

    def _render(self, run_id: int, number: int) -> list[EncodedEvent]:
        news = events_with_state(self._services.store, run_id, number)
        return [self._frame(run_id, event) for event in news]

    def _frame(self, run_id: int, event: EventWithState) -> EncodedEvent:
        kind, answer = (
            (events.EPOCH, epochs_api.answer(event.state))
            if isinstance(event.state, Epoch)
            else (events.STATUS, runs_api.answer(self._services, event.state))
        )
        return EncodedEvent.encode(kind, answer.model_dump_json(), event.number, ID_FIELD, run_id)


class WatchedRun(WatchedResource):
    """A run as it was polled last; `state` is None for one that does not exist."""

    def __init__(self, run_id: int, run: Run | None) -> None:
        super().__init__()
        self.state = RunProgress.from_run(run) if run else None
        self.progress: EncodedEvent | None = None  # of the epoch in work
        self._run_id = run_id
        self._images_total: int = run.spec["samples_per_epoch"] if run else 0
        self._progress_data: ProgressData | None = None
        self._progress_at = float("-inf")
        self._update_progress()

    def update(self, state: RunProgress | None) -> None:
        """Notify of events at once, of progress at most four times a second."""
        # A poll that began before a stream did may bring what is older than that stream's start.
        if state and self.state and state.last_event < self.state.last_event:
            return
        changed = _last_event(state) != _last_event(self.state)
        self.state = state
        if self._update_progress() or changed:
            self.notify()

    def _update_progress(self) -> bool:
        """Whether there is new progress to send."""
        if self.state is None or self.state.status != RunStatus.RUNNING:
            self.progress = self._progress_data = None
            return False
        data = ProgressData(
            epoch=self.state.epochs_done + 1,
            images_seen=self.state.images_seen,
            images_total=self._images_total,
        )
        now = time.monotonic()
        if data == self._progress_data or now - self._progress_at < PROGRESS_SECONDS:
            return False
        self._progress_data, self._progress_at = data, now
        self.progress = EncodedEvent.encode(
            "progress", data.model_dump_json(), None, ID_FIELD, self._run_id
        )
        return True


def _last_event(state: RunProgress | None) -> int | None:
    return state.last_event if state else None


class RunSubscription:
    """A run in one stream, from the event after `number` on."""

    def __init__(
        self, source: RunPoller, run_id: int, run: Run | None, number: int, *, sends_gone: bool
    ) -> None:
        self.poller = source
        self.resource_id = run_id
        self.ended = False
        self._run = run
        self._watched = self.new_resource()
        self._number = number
        self._sends_gone = sends_gone
        self._progress: EncodedEvent | None = None  # the last one sent

    def new_resource(self) -> WatchedRun:
        """A feed of the run as it was read when the stream began."""
        return WatchedRun(self.resource_id, self._run)

    def attach(self, resource: WatchedRun) -> None:
        """Follow this feed, which is not older than the stream from here on."""
        self._watched = resource
        if self._run:
            resource.update(RunProgress.from_run(self._run))

    async def next_events(self) -> Sequence[EncodedEvent]:
        """Events in order; after them, while the run trains, its progress."""
        state = self._watched.state
        if self.ended:
            return ()
        if state is None:
            self.ended = True
            gone = EncodedEvent.encode("gone", "{}", None, ID_FIELD, self.resource_id)
            return [gone] if self._sends_gone else ()
        if self._number < state.last_event:
            return await self.poller.events_after(self.resource_id, self._number, state.last_event)
        if state.status in TERMINAL_STATUSES:
            self.ended = True
            return ()
        if self._watched.progress is None or self._watched.progress is self._progress:
            return ()
        self._progress = self._watched.progress
        return [self._progress]

    def mark_sent(self, number: int) -> None:
        """The event of this number is sent."""
        self._number = number

    def cursor(self) -> str | None:
        """`7:12`: of run 7, all up to event 12."""
        return f"{self.resource_id}:{self._number}" if self._number else None
