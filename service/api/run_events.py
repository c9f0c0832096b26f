"""Runs as event streams follow them."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial

from cachetools import TTLCache
from pydantic import BaseModel

from service.api.event_topics import Feed, Frame
from service.api.resources import epochs as epochs_api
from service.api.resources import runs as runs_api
from service.api.services import ServiceSet
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


class RunSource:
    """Polls runs, and renders their events once for all streams."""

    def __init__(self, services: ServiceSet) -> None:
        self._services = services
        self._pages: TTLCache[tuple[int, int, int], asyncio.Task[list[Frame]]] = TTLCache(
            MAX_SHARED_PAGES, SHARED_SECONDS
        )

    def states(self, ids: Sequence[int]) -> Mapping[int, RunProgress]:
        """The progress of those that exist, by one query."""
        with self._services.store.read_session() as session:
            return runs.get_progress_of_many(session, ids)

    async def events_after(self, run_id: int, number: int, last_event: int) -> list[Frame]:
        """The next events of a run that has `last_event` of them; empty for a deleted one."""
        key = run_id, number, last_event
        page = self._pages.get(key)
        if page is None:
            query = partial(self._render, run_id, number)
            page = asyncio.create_task(self._services.event_hub.read_patiently(query))
            self._pages[key] = page
        try:
            # Shielded: it goes on for the others when one stream ends.
            return await asyncio.shield(page)
        except Exception:
            self._pages.pop(key, None)
            raise

    def _render(self, run_id: int, number: int) -> list[Frame]:
        news = events_with_state(self._services.store, run_id, number)
        return [self._frame(run_id, event) for event in news]

    def _frame(self, run_id: int, event: EventWithState) -> Frame:
        kind, answer = (
            (events.EPOCH, epochs_api.answer(event.state))
            if isinstance(event.state, Epoch)
            else (events.STATUS, runs_api.answer(self._services, event.state))
        )
        return Frame.encode(kind, answer.model_dump_json(), event.number, ID_FIELD, run_id)


class RunFeed(Feed):
    """A run as it was polled last; `state` is None for one that does not exist."""

    def __init__(self, run_id: int, run: Run | None) -> None:
        super().__init__()
        self.state = RunProgress.from_run(run) if run else None
        self.progress: Frame | None = None  # of the epoch in work
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
        self.progress = Frame.encode(
            "progress", data.model_dump_json(), None, ID_FIELD, self._run_id
        )
        return True


def _last_event(state: RunProgress | None) -> int | None:
    return state.last_event if state else None


class RunTopic:
    """A run in one stream, from the event after `number` on."""

    def __init__(
        self, source: RunSource, run_id: int, run: Run | None, number: int, *, sends_gone: bool
    ) -> None:
        self.source = source
        self.resource_id = run_id
        self.ended = False
        self._run = run
        self._feed = self.new_feed()
        self._number = number
        self._sends_gone = sends_gone
        self._progress: Frame | None = None  # the last one sent

    def new_feed(self) -> RunFeed:
        """A feed of the run as it was read when the stream began."""
        return RunFeed(self.resource_id, self._run)

    def attach(self, feed: RunFeed) -> None:
        """Follow this feed, which is not older than the stream from here on."""
        self._feed = feed
        if self._run:
            feed.update(RunProgress.from_run(self._run))

    async def next_frames(self) -> Sequence[Frame]:
        """Events in order; after them, while the run trains, its progress."""
        state = self._feed.state
        if self.ended:
            return ()
        if state is None:
            self.ended = True
            gone = Frame.encode("gone", "{}", None, ID_FIELD, self.resource_id)
            return [gone] if self._sends_gone else ()
        if self._number < state.last_event:
            return await self.source.events_after(self.resource_id, self._number, state.last_event)
        if state.status in TERMINAL_STATUSES:
            self.ended = True
            return ()
        if self._feed.progress is None or self._feed.progress is self._progress:
            return ()
        self._progress = self._feed.progress
        return [self._progress]

    def mark_sent(self, number: int) -> None:
        """The event of this number is sent."""
        self._number = number

    def cursor(self) -> str | None:
        """`7:12`: of run 7, all up to event 12."""
        return f"{self.resource_id}:{self._number}" if self._number else None
