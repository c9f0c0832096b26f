"""Polls the resources of all open event streams: one query per kind of resource."""

import asyncio
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import structlog
from anyio import CapacityLimiter, to_thread

from service.api.errors import TooManyStreams
from service.api.event_streams.subscriptions import (
    ReadyQueue,
    StatePoller,
    Subscription,
    WatchedResource,
)
from service.errors import CamreelError
from service.store_errors import StoreUnavailable

POLL_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 5.0
READER_THREADS = 4

S = TypeVar("S", bound=StatePoller)
T = TypeVar("T")

log = structlog.get_logger()


class StreamSlots:
    """Counts open streams: at most `limit`, and at most `client_limit` per client."""

    def __init__(self, limit: int, client_limit: int) -> None:
        self._limit = limit
        self._client_limit = client_limit
        self._counts: dict[str, int] = {}

    @property
    def count(self) -> int:
        """Number of open streams."""
        return sum(self._counts.values())

    @contextmanager
    def acquire(self, client: str) -> Iterator[None]:
        """Hold a slot during a `with` block. Raises TooManyStreams."""
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


class EventBroker:
    """Notifies subscriptions of changes, which a task polls. For the event loop's thread only."""

    def __init__(self) -> None:
        self._pollers: dict[type[StatePoller], StatePoller] = {}
        self._resources: dict[tuple[StatePoller, Hashable], WatchedResource] = {}
        self._queues: set[ReadyQueue] = set()
        self._polling: asyncio.Task[None] | None = None
        # Separate threads: those of the endpoints may all be busy for seconds.
        self._threads = CapacityLimiter(READER_THREADS)
        self._is_closed = False

    def get_poller(self, poller_type: type[S], new_poller: Callable[[], S]) -> S:
        """The poller of that type, created on first use."""
        poller = self._pollers.setdefault(poller_type, new_poller())
        assert isinstance(poller, poller_type)  # noqa: S101  for mypy
        return poller

    @contextmanager
    def open_queue(self) -> Iterator[ReadyQueue]:
        """A queue for one stream. The first starts the polling task, the last one stops it."""
        queue = ReadyQueue()
        if self._is_closed:
            queue.close()
        self._queues.add(queue)
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll())
        try:
            yield queue
        finally:
            self._queues.remove(queue)
            if not self._queues and self._polling is not None:
                self._polling.cancel()
                self._polling = None

    @contextmanager
    def subscribe(self, subscription: Subscription, queue: ReadyQueue) -> Iterator[None]:
        """Put the subscription into the queue whenever it may have events to send."""
        key = subscription.poller, subscription.resource_id
        resource = self._resources.setdefault(key, subscription.new_resource())
        resource.subscribers[subscription] = queue
        subscription.attach(resource)
        try:
            yield
        finally:
            del resource.subscribers[subscription]
            if not resource.subscribers:
                del self._resources[key]

    async def read(self, query: Callable[[], T]) -> T:
        """Run a query in a thread. Raises StoreUnavailable."""
        return await to_thread.run_sync(query, limiter=self._threads)

    async def read_with_retry(self, query: Callable[[], T]) -> T:
        """Run a query in a thread, and repeat it while the database is unavailable."""
        while True:
            try:
                return await self.read(query)
            except StoreUnavailable:
                await asyncio.sleep(POLL_SECONDS)

    def close(self) -> None:
        """End all streams, and those opened later, because the server stops."""
        self._is_closed = True
        for queue in self._queues:
            queue.close()

    async def _poll(self) -> None:
        failures = 0
        while True:
            try:
                await self._poll_once()
                failures = 0
            except Exception as error:  # otherwise the streams would wait forever
                failures += 1
                if failures == 1:
                    message = (
                        str(error) if isinstance(error, CamreelError) else type(error).__name__
                    )
                    log.warning("event poll failed", error=message)
            await asyncio.sleep(min(MAX_BACKOFF_SECONDS, POLL_SECONDS * 2.0 ** min(failures, 10)))

    async def _poll_once(self) -> None:
        """Run one query per kind of resource."""
        by_poller: dict[StatePoller, dict[Hashable, WatchedResource]] = {}
        for (poller, resource_id), resource in self._resources.items():
            by_poller.setdefault(poller, {})[resource_id] = resource
        for poller, resource_by_id in by_poller.items():
            states = await self.read_with_retry(partial(poller.poll, list(resource_by_id)))
            # Not self._resources: the query does not cover resources added in the meantime.
            for resource_id, resource in resource_by_id.items():
                resource.update(states.get(resource_id))
