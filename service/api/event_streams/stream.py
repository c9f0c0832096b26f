"""Server-sent events of any number of resources in one response."""

from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack

import structlog

from service.api.event_streams.broker import EventBroker
from service.api.event_streams.subscriptions import EncodedEvent, ReadyQueue, Subscription
from service.errors import CamreelError

KEEPALIVE_SECONDS = 15.0
KEEPALIVE = b": ping\n\n"
CHUNK_BYTES = 16 * 2**10
"""Events are rendered for a client when it has read what was sent before, but for so much."""

log = structlog.get_logger()


async def stream_events(
    broker: EventBroker, topics: Sequence[Subscription], *, multiplexed: bool
) -> AsyncIterator[bytes]:
    """Chunks of the stream, until all topics have ended or the server stops.

    `several`: each event's data names its resource, and its `id` is the cursor of all topics.
    Otherwise the `id` is the number of the one topic's event.
    """
    with ExitStack() as stack:
        queue = stack.enter_context(broker.open_queue())
        subscriptions = {topic: stack.enter_context(ExitStack()) for topic in topics}
        for topic, subscription in subscriptions.items():
            subscription.enter_context(broker.subscribe(topic, queue))
            queue.put(topic)
        while subscriptions and not queue.closed:
            if not await queue.wait(KEEPALIVE_SECONDS):
                yield KEEPALIVE
            chunk = bytearray()
            for topic in queue.drain():
                async for frame in _frames(topic, queue):
                    chunk += _encode(frame, topic, topics if multiplexed else None)
                    if len(chunk) >= CHUNK_BYTES:
                        yield bytes(chunk)
                        chunk.clear()
                if topic.ended and topic in subscriptions:
                    subscriptions.pop(topic).close()
            if chunk:
                yield bytes(chunk)


async def _frames(topic: Subscription, inbox: ReadyQueue) -> AsyncIterator[EncodedEvent]:
    """What the topic has to send now."""
    while not inbox.closed:
        try:
            frames = await topic.next_events()
        except CamreelError as error:
            # The status is sent already: the stream ends, and its client comes back.
            log.warning("event stream failed", error=str(error))
            inbox.close()
            return
        if not frames:
            return
        for frame in frames:
            yield frame


def _encode(
    frame: EncodedEvent, topic: Subscription, several: Sequence[Subscription] | None
) -> bytes:
    lines = frame.lines if several is None else frame.identified_lines
    if frame.number is None:
        return lines + b"\n"
    topic.mark_sent(frame.number)
    event_id = str(frame.number) if several is None else stream_cursor(several)
    return b"%sid: %s\n\n" % (lines, event_id.encode())


def stream_cursor(topics: Sequence[Subscription]) -> str:
    """What has been sent of all topics: `1:12,7:3`."""
    return ",".join(part for topic in topics if (part := topic.cursor()))
