"""What an event stream is made of. A new kind of resource in `GET /events` has a `Source`, a
`Feed` and a `Topic`; runs have theirs in `run_events.py`.

All but `Source.states` belongs to the event loop's thread.
"""

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class EncodedEvent:
    """An event, encoded once for all streams: its lines but for `id`."""

    lines: bytes
    identified_lines: bytes  # the same with the resource's id in `data`
    number: int | None  # None for an event that a client that comes back is not sent again

    @classmethod
    def encode(
        cls, event: str, data: str, number: int | None, id_field: str, resource_id: int
    ) -> "EncodedEvent":
        """From `data`, a JSON object in one line."""
        comma = "" if data == "{}" else ","
        identified_data = f'{{"{id_field}":{resource_id}{comma}{data[1:]}'
        return cls(
            f"event: {event}\ndata: {data}\n".encode(),
            f"event: {event}\ndata: {identified_data}\n".encode(),
            number,
        )


class StatePoller(Protocol):
    """A kind of resource."""

    def poll(self, ids: Sequence[Any]) -> Mapping[Any, Any]:
        """The states of those that exist, by one query, in a thread. Raises StoreUnavailable."""
        ...


class WatchedResource:
    """A followed resource as it was polled last, shared by all streams that follow it."""

    def __init__(self) -> None:
        self.queue_by_subscription: dict[Subscription, ReadyQueue] = {}

    def update(self, state: Any) -> None:
        """Take what a poll read, None for a resource that does not exist; notify of changes."""
        raise NotImplementedError

    def notify(self) -> None:
        """Put the followers' topics into their inboxes."""
        for topic, inbox in self.queue_by_subscription.items():
            inbox.put(topic)


class Subscription(Protocol):
    """A resource in one stream, and how much of it has been sent."""

    @property
    def poller(self) -> StatePoller:
        """What polls the resource."""
        ...

    @property
    def resource_id(self) -> Hashable:
        """The resource, among those of its source."""
        ...

    @property
    def ended(self) -> bool:
        """Whether nothing more comes of it."""
        ...

    def new_resource(self) -> WatchedResource:
        """A feed for the first topic of its resource."""
        ...

    def attach(self, resource: Any) -> None:
        """Follow this feed, which another topic may have made."""
        ...

    async def next_events(self) -> Sequence[EncodedEvent]:
        """The next events; empty where there are none yet."""
        ...

    def mark_sent(self, number: int) -> None:
        """The event of this number is sent."""
        ...

    def cursor(self) -> str | None:
        """Its part of the `id` of a stream of several: what has been sent of it.

        None while nothing numbered has been sent.
        """
        ...


class ReadyQueue:
    """The topics of one stream that may have something to send."""

    def __init__(self) -> None:
        self.closed = False
        self._subscriptions: dict[Subscription, None] = {}  # in order
        self._has_items = asyncio.Event()

    def put(self, subscription: Subscription) -> None:
        """The topic may have something to send."""
        self._subscriptions[subscription] = None
        self._has_items.set()

    def drain(self) -> list[Subscription]:
        """The topics put since the last call."""
        subscriptions, self._subscriptions = list(self._subscriptions), {}
        if not self.closed:
            self._has_items.clear()
        return subscriptions

    def close(self) -> None:
        """The server stops."""
        self.closed = True
        self._has_items.set()

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait for a topic or the end; False after the timeout."""
        if not self._has_items.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_items.wait(), timeout_seconds)
        return self._has_items.is_set()
