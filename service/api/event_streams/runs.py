"""Runs in event streams."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from cachetools import TTLCache
from pydantic import BaseModel

from service.api.event_streams.subscriptions import EncodedEvent, WatchedResource
from service.api.resources import epochs as epochs_api
from service.api.run_responses import past_run_response
from service.api.services import ApiServices
from service.flows.event_states import EventWithState, events_with_state
from service.flows.run_activity import RunActivity
from service.store import events, runs
from service.store.epochs import Epoch
from service.store.run_status import TERMINAL_STATUSES, RunPhase
from service.store.runs import Run, RunProgress

PROGRESS_SECONDS = 0.25
MAX_SHARED_PAGES = 64
SHARED_SECONDS = 2.0
"""Streams share the encoded events of a run for this long; events show rows as they are read."""

ID_FIELD = "run_id"


class ProgressData(BaseModel):
    """Progress of the epoch that is being trained, and what the run does now."""

    epoch: int
    images_seen: int
    images_total: int
    phase: RunPhase | None
    queue_position: int | None
    seconds_per_epoch: float | None


class PolledRun(NamedTuple):
    """A run as one poll read it."""

    progress: RunProgress
    activity: RunActivity


class RunPoller:
    """Polls the state of runs, and encodes their events once for all streams."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services
        self._pages: TTLCache[tuple[int, int, int], asyncio.Task[list[EncodedEvent]]] = TTLCache(
            MAX_SHARED_PAGES, SHARED_SECONDS
        )

    def poll(self, ids: Sequence[int]) -> Mapping[int, PolledRun]:
        """The runs that exist by id, in one query, and one more while any of them is queued."""
        with self._services.store.read_session() as session:
            progress = runs.get_progress_of_many(session, ids)
        activities = self._services.activities.get(progress)
        return {run_id: PolledRun(run, activities[run_id]) for run_id, run in progress.items()}

    async def events_after(self, run_id: int, number: int, last_event: int) -> list[EncodedEvent]:
        """Events of a run after `number`; empty if it was deleted.

        `last_event` is the number of the newest event, and part of the cache key.
        """
        key = run_id, number, last_event
        page = self._pages.get(key)
        if page is None:
            query = partial(self._encode_events, run_id, number)
            page = asyncio.create_task(self._services.event_broker.read_with_retry(query))
            self._pages[key] = page
        try:
            # Shielded: a stream that ends must not cancel the query of the others.
            return await asyncio.shield(page)
        except Exception:
            self._pages.pop(key, None)
            raise

    def _encode_events(self, run_id: int, number: int) -> list[EncodedEvent]:
        events_read = events_with_state(self._services.store, run_id, number)
        return [self._encode_event(run_id, event) for event in events_read]

    def _encode_event(self, run_id: int, event: EventWithState) -> EncodedEvent:
        event_type, response = (
            (events.EPOCH, epochs_api.epoch_response(event.state))
            if isinstance(event.state, Epoch)
            else (events.STATUS, past_run_response(self._services, event.state))
        )
        return EncodedEvent.encode(
            event_type, response.model_dump_json(), event.number, ID_FIELD, run_id
        )


class WatchedRun(WatchedResource):
    """The last polled state of a run; `state` is None if the run does not exist."""

    def __init__(self, run_id: int, run: Run | None) -> None:
        super().__init__()
        self.state = RunProgress.from_run(run) if run else None
        self.progress: EncodedEvent | None = None  # of the last poll, unless the run has ended
        self._run_id = run_id
        self._images_total: int = run.spec.get("samples_per_epoch", 0) if run else 0
        self._progress_data: ProgressData | None = None
        self._progress_at = float("-inf")

    def update(self, polled: PolledRun | None) -> None:
        """Notify of events at once, and of progress at most four times per second."""
        state = polled.progress if polled else None
        # A poll started before the stream may return a state older than the stream's first.
        if self._is_outdated(state):
            return
        has_new_events = self.update_state(state)
        if self._update_progress(polled) or has_new_events:
            self.notify()

    def update_state(self, state: RunProgress | None) -> bool:
        """Set a state that is not outdated; return whether it has new events."""
        if self._is_outdated(state):
            return False
        has_new_events = _last_event(state) != _last_event(self.state)
        self.state = state
        if has_new_events:
            self.progress = self._progress_data = None  # that of the next poll follows the events
        return has_new_events

    def _is_outdated(self, state: RunProgress | None) -> bool:
        return bool(state and self.state and state.last_event < self.state.last_event)

    def _update_progress(self, polled: PolledRun | None) -> bool:
        """Update the progress event; return whether there is a new one to send."""
        if polled is None or polled.progress.status in TERMINAL_STATUSES:
            self.progress = self._progress_data = None
            return False
        data = ProgressData(
            epoch=polled.progress.epochs_done + 1,
            images_seen=polled.progress.images_seen,
            images_total=self._images_total,
            **vars(polled.activity),
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
    """A run in one stream, starting after the event `number`."""

    def __init__(
        self, poller: RunPoller, run_id: int, run: Run | None, number: int, *, sends_gone: bool
    ) -> None:
        self.poller = poller
        self.resource_id = run_id
        self.has_ended = False
        self._run = run
        self._resource = self.new_resource()
        self._number = number
        self._sends_gone = sends_gone
        self._progress: EncodedEvent | None = None  # the last one that was sent

    def new_resource(self) -> WatchedRun:
        """The run as it was when the stream began."""
        return WatchedRun(self.resource_id, self._run)

    def attach(self, resource: WatchedRun) -> None:
        """Read from this resource, updated to the state in which the stream began."""
        self._resource = resource
        if self._run and resource.update_state(RunProgress.from_run(self._run)):
            resource.notify()

    async def next_events(self) -> Sequence[EncodedEvent]:
        """Events in order; once they are sent, the progress of a running run."""
        state = self._resource.state
        if self.has_ended:
            return ()
        if state is None:
            self.has_ended = True
            event = EncodedEvent.encode("gone", "{}", None, ID_FIELD, self.resource_id)
            return [event] if self._sends_gone else ()
        if self._number < state.last_event:
            return await self.poller.events_after(self.resource_id, self._number, state.last_event)
        if state.status in TERMINAL_STATUSES:
            self.has_ended = True
            return ()
        if self._resource.progress is None or self._resource.progress is self._progress:
            return ()
        self._progress = self._resource.progress
        return [self._progress]

    def mark_sent(self, number: int) -> None:
        """Advance the position to the event of this number."""
        self._number = number

    def cursor(self) -> str | None:
        """`7:12` if the events of run 7 up to 12 were sent; None at the beginning."""
        return f"{self.resource_id}:{self._number}" if self._number else None
