"""Server-sent events of one or more resources in one response."""

from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack

import structlog

from service.api.event_streams.broker import EventBroker
from service.api.event_streams.subscriptions import EncodedEvent, ReadyQueue, Subscription
from service.errors import CamreelError

KEEPALIVE_SECONDS = 15.0
KEEPALIVE = b": ping\n\n"
CHUNK_BYTES = 16 * 2**10
"""Chunk size. The next chunk is encoded only after the client has received the previous one."""

log = structlog.get_logger()


async def stream_events(
    broker: EventBroker, all_subscriptions: Sequence[Subscription], *, multiplexed: bool
) -> AsyncIterator[bytes]:
    """Yield chunks of the stream until all subscriptions have ended or the server stops.

    If `multiplexed`, the data of each event contains the id of its resource, and its `id` is the
    cursor of all subscriptions. Otherwise `id` is the event's number.
    """
    with ExitStack() as stack:
        queue = stack.enter_context(broker.open_queue())
        contexts = {s: stack.enter_context(ExitStack()) for s in all_subscriptions}
        for subscription, context in contexts.items():
            context.enter_context(broker.subscribe(subscription, queue))
            queue.put(subscription)
        while contexts and not queue.is_closed:
            if not await queue.wait(KEEPALIVE_SECONDS):
                yield KEEPALIVE
            chunk = bytearray()
            for subscription in queue.drain():
                async for event in _pending_events(subscription, queue):
                    chunk += _encode(
                        event, subscription, all_subscriptions if multiplexed else None
                    )
                    if len(chunk) >= CHUNK_BYTES:
                        yield bytes(chunk)
                        chunk.clear()
                if subscription.has_ended and subscription in contexts:
                    contexts.pop(subscription).close()
            if chunk:
                yield bytes(chunk)


async def _pending_events(
    subscription: Subscription, queue: ReadyQueue
) -> AsyncIterator[EncodedEvent]:
    """Events of the subscription that can be sent now."""
    while not queue.is_closed:
        try:
            events = await subscription.next_events()
        except CamreelError as error:
            # The response has begun, so it cannot become an error: end it, the client reconnects.
            log.warning("event stream failed", error=str(error))
            queue.close()
            return
        if not events:
            return
        for event in events:
            yield event


def _encode(
    event: EncodedEvent, subscription: Subscription, multiplexed_with: Sequence[Subscription] | None
) -> bytes:
    lines = event.lines if multiplexed_with is None else event.lines_with_id
    if event.number is None:
        return lines + b"\n"
    subscription.mark_sent(event.number)
    event_id = str(event.number) if multiplexed_with is None else stream_cursor(multiplexed_with)
    return b"%sid: %s\n\n" % (lines, event_id.encode())


def stream_cursor(subscriptions: Sequence[Subscription]) -> str:
    """The positions of all subscriptions: `1:12,7:3`."""
    return ",".join(part for s in subscriptions if (part := s.cursor()))
