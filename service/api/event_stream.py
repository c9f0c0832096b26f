"""Server-sent events of any number of resources in one response."""

from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack

import structlog

from service.api.event_hub import EventHub
from service.api.event_topics import Frame, Inbox, Topic
from service.errors import CamreelError

KEEPALIVE_SECONDS = 15.0
KEEPALIVE = b": ping\n\n"
CHUNK_BYTES = 16 * 2**10
"""Events are rendered for a client when it has read what was sent before, but for so much."""

log = structlog.get_logger()


async def stream(hub: EventHub, topics: Sequence[Topic], *, several: bool) -> AsyncIterator[bytes]:
    """Chunks of the stream, until all topics have ended or the server stops.

    `several`: each event's data names its resource, and its `id` is the cursor of all topics.
    Otherwise the `id` is the number of the one topic's event.
    """
    with ExitStack() as stack:
        inbox = stack.enter_context(hub.inbox())
        subscriptions = {topic: stack.enter_context(ExitStack()) for topic in topics}
        for topic, subscription in subscriptions.items():
            subscription.enter_context(hub.followed(topic, inbox))
            inbox.put(topic)
        while subscriptions and not inbox.closed:
            if not await inbox.wait(KEEPALIVE_SECONDS):
                yield KEEPALIVE
            chunk = bytearray()
            for topic in inbox.take():
                async for frame in _frames(topic, inbox):
                    chunk += _encode(frame, topic, topics if several else None)
                    if len(chunk) >= CHUNK_BYTES:
                        yield bytes(chunk)
                        chunk.clear()
                if topic.ended and topic in subscriptions:
                    subscriptions.pop(topic).close()
            if chunk:
                yield bytes(chunk)


async def _frames(topic: Topic, inbox: Inbox) -> AsyncIterator[Frame]:
    """What the topic has to send now."""
    while not inbox.closed:
        try:
            frames = await topic.next_frames()
        except CamreelError as error:
            # The status is sent already: the stream ends, and its client comes back.
            log.warning("event stream failed", error=str(error))
            inbox.close()
            return
        if not frames:
            return
        for frame in frames:
            yield frame


def _encode(frame: Frame, topic: Topic, several: Sequence[Topic] | None) -> bytes:
    lines = frame.lines if several is None else frame.identified_lines
    if frame.number is None:
        return lines + b"\n"
    topic.mark_sent(frame.number)
    event_id = str(frame.number) if several is None else cursor_of(several)
    return b"%sid: %s\n\n" % (lines, event_id.encode())


def cursor_of(topics: Sequence[Topic]) -> str:
    """What has been sent of all topics: `1:12,7:3`."""
    return ",".join(part for topic in topics if (part := topic.cursor()))
