"""The parts of an event stream. A new kind of resource in `GET /events` needs a `StatePoller`, a
`WatchedResource` and a `Subscription`; those of runs are in `runs.py`.

Everything except `StatePoller.poll` runs in the event loop's thread.
"""

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class EncodedEvent:
    """A server-sent event without its `id` line, encoded once for all streams."""

    lines: bytes
    lines_with_id: bytes  # with the resource's id added to `data`
    number: int | None  # None for an event that is not sent again after a reconnect

    @classmethod
    def encode(
        cls, event: str, data: str, number: int | None, id_field: str, resource_id: int
    ) -> "EncodedEvent":
        """Encode an event; `data` is a JSON object on one line."""
        comma = "" if data == "{}" else ","
        identified_data = f'{{"{id_field}":{resource_id}{comma}{data[1:]}'
        return cls(
            f"event: {event}\ndata: {data}\n".encode(),
            f"event: {event}\ndata: {identified_data}\n".encode(),
            number,
        )


class StatePoller(Protocol):
    """Reads the state of resources of one kind."""

    def poll(self, ids: Sequence[Any]) -> Mapping[Any, Any]:
        """States by id of the resources that exist, in one query. Raises StoreUnavailable."""
        ...


class WatchedResource:
    """The last polled state of a resource, shared by all its subscriptions."""

    def __init__(self) -> None:
        self.subscribers: dict[Subscription, ReadyQueue] = {}

    def update(self, state: Any) -> None:
        """Set the polled state, None if the resource does not exist; notify on changes."""
        raise NotImplementedError

    def notify(self) -> None:
        """Put each subscription into its stream's queue."""
        for subscription, queue in self.subscribers.items():
            queue.put(subscription)


class Subscription(Protocol):
    """A resource in one stream, with the position up to which its events were sent."""

    @property
    def poller(self) -> StatePoller:
        """The poller of this kind of resource."""
        ...

    @property
    def resource_id(self) -> Hashable:
        """The resource's id, unique within its poller."""
        ...

    @property
    def has_ended(self) -> bool:
        """Whether all events were sent and no more will follow."""
        ...

    def new_resource(self) -> WatchedResource:
        """A watched resource, in case this is its first subscription."""
        ...

    def attach(self, resource: Any) -> None:
        """Read from this resource, which another subscription may have created."""
        ...

    async def next_events(self) -> Sequence[EncodedEvent]:
        """The next events to send; empty if there are none yet."""
        ...

    def mark_sent(self, number: int) -> None:
        """Advance the position to the event of this number."""
        ...

    def cursor(self) -> str | None:
        """The position as a part of a multiplexed stream's `id`; None at the beginning."""
        ...


class ReadyQueue:
    """The subscriptions of one stream that may have events to send."""

    def __init__(self) -> None:
        self.is_closed = False
        self._subscriptions: dict[Subscription, None] = {}  # an ordered set
        self._has_items = asyncio.Event()

    def put(self, subscription: Subscription) -> None:
        """Add the subscription, unless it is queued already."""
        self._subscriptions[subscription] = None
        self._has_items.set()

    def drain(self) -> list[Subscription]:
        """Remove and return all queued subscriptions."""
        subscriptions, self._subscriptions = list(self._subscriptions), {}
        if not self.is_closed:
            self._has_items.clear()
        return subscriptions

    def close(self) -> None:
        """Wake the stream so that it ends."""
        self.is_closed = True
        self._has_items.set()

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait for a subscription or for `close`; return False on timeout."""
        if not self._has_items.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_items.wait(), timeout_seconds)
        return self._has_items.is_set()
