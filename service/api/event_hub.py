"""The resources that streams follow now: polled by one query, however many streams there are."""

import asyncio
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import structlog
from anyio import CapacityLimiter, to_thread

from service.api.event_topics import Feed, Inbox, Source, Topic
from service.errors import CamreelError, StoreUnavailable, TooManyStreams

POLL_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 5.0
READER_THREADS = 4

S = TypeVar("S", bound=Source)
T = TypeVar("T")

log = structlog.get_logger()


class StreamSlots:
    """The streams open now: at most `limit`, and at most `client_limit` of one client."""

    def __init__(self, limit: int, client_limit: int) -> None:
        self._limit = limit
        self._client_limit = client_limit
        self._counts: dict[str, int] = {}

    @property
    def count(self) -> int:
        """Streams open now."""
        return sum(self._counts.values())

    @contextmanager
    def acquired(self, client: str) -> Iterator[None]:
        """A slot for the time of a block. Raises TooManyStreams."""
        if self._counts.get(client, 0) >= self._client_limit:
            raise TooManyStreams(self._client_limit, "one client", "CAMREEL_MAX_CLIENT_STREAMS")
        if self.count >= self._limit:
            raise TooManyStreams(self._limit, "all clients", "CAMREEL_MAX_STREAMS")
        self._counts[client] = self._counts.get(client, 0) + 1
        try:
            yield
        finally:
            self._counts[client] -= 1
            if not self._counts[client]:
                del self._counts[client]


class EventHub:
    """Feeds by resource, and the task that polls them. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._sources: dict[type[Source], Source] = {}
        self._feeds: dict[tuple[Source, Hashable], Feed] = {}
        self._inboxes: set[Inbox] = set()
        self._poller: asyncio.Task[None] | None = None
        # Threads of its own: those of the routes may all be at work for seconds.
        self._threads = CapacityLimiter(READER_THREADS)
        self._closed = False

    def source(self, kind: type[S], new_source: Callable[[], S]) -> S:
        """The one source of a kind."""
        source = self._sources.setdefault(kind, new_source())
        assert isinstance(source, kind)  # noqa: S101  for mypy
        return source

    @contextmanager
    def inbox(self) -> Iterator[Inbox]:
        """A stream's inbox; the first one starts the poller, the last one ends it."""
        inbox = Inbox()
        if self._closed:
            inbox.close()
        self._inboxes.add(inbox)
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll())
        try:
            yield inbox
        finally:
            self._inboxes.remove(inbox)
            if not self._inboxes and self._poller is not None:
                self._poller.cancel()
                self._poller = None

    @contextmanager
    def followed(self, topic: Topic, inbox: Inbox) -> Iterator[None]:
        """Have the topic put into the inbox whenever it may have something to send."""
        key = topic.source, topic.resource_id
        feed = self._feeds.setdefault(key, topic.new_feed())
        feed.followers[topic] = inbox
        topic.attach(feed)
        try:
            yield
        finally:
            del feed.followers[topic]
            if not feed.followers:
                del self._feeds[key]

    async def read(self, query: Callable[[], T]) -> T:
        """Run a query in a thread. Raises StoreUnavailable."""
        return await to_thread.run_sync(query, limiter=self._threads)

    async def read_patiently(self, query: Callable[[], T]) -> T:
        """The same, again for as long as the database is unavailable: for a stream that is open."""
        while True:
            try:
                return await self.read(query)
            except StoreUnavailable:
                await asyncio.sleep(POLL_SECONDS)

    def close(self) -> None:
        """End all streams, and those that come: the server stops."""
        self._closed = True
        for inbox in self._inboxes:
            inbox.close()

    async def _poll(self) -> None:
        failures = 0
        while True:
            try:
                await self._poll_once()
                failures = 0
            except Exception as error:  # the streams would wait without end
                failures += 1
                if failures == 1:
                    words = str(error) if isinstance(error, CamreelError) else type(error).__name__
                    log.warning("event poll failed", error=words)
            await asyncio.sleep(min(MAX_BACKOFF_SECONDS, POLL_SECONDS * 2.0 ** min(failures, 10)))

    async def _poll_once(self) -> None:
        """One query for each kind of resource."""
        feeds: dict[Source, dict[Hashable, Feed]] = {}
        for (source, resource_id), feed in self._feeds.items():
            feeds.setdefault(source, {})[resource_id] = feed
        for source, feed_by_id in feeds.items():
            states = await self.read_patiently(partial(source.states, list(feed_by_id)))
            # Of these feeds alone: what was followed meanwhile, the query knows nothing of.
            for resource_id, feed in feed_by_id.items():
                feed.update(states.get(resource_id))
