"""Timeouts for idle connections and for requests that never complete."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.cli.listener import Listener
from service.settings import Settings

BODY_BYTES_PER_TIMEOUT = 2**20
"""A body gets a timeout for each mebibyte: a large one over a slow link is not cut off, one without
progress is."""

MAX_HEAD_BYTES = 64 * 2**10
"""Limit of a request line with its headers; httptools itself has none."""


class Part(StrEnum):
    """A part of a request that has not been received."""

    FIRST_BYTE = "first byte"
    HEAD = "head"
    BODY = "body"


@dataclass(frozen=True)
class ConnectionTimeouts:
    """Timeouts of a connection, in seconds."""

    header_seconds: float  # for the head of a request, from the first byte to the last
    # For each BODY_BYTES_PER_TIMEOUT of the body, the first byte, a response that is not read.
    idle_seconds: float

    @classmethod
    def from_settings(cls, settings: Settings) -> "ConnectionTimeouts":
        """The timeouts of the service's settings."""
        return cls(settings.header_seconds, settings.idle_seconds)

    def of_part(self, part: Part) -> float:
        """The timeout for a part of a request."""
        return self.header_seconds if part is Part.HEAD else self.idle_seconds


class HeadTooLarge(Exception):
    """Raised in a callback of the parser, which uvicorn answers with 400."""


class TimeoutProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which also closes connections that exceed the timeouts or the limits.

    uvicorn itself has no timeout for incomplete heads and bodies. Between a response and the next
    request its `timeout_keep_alive` applies.
    """

    def __init__(
        self, *args: Any, timeouts: ConnectionTimeouts, listener: Listener, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._timeouts = timeouts
        self._listener = listener
        self._timed_body_bytes = 0  # received since the read timer of the body started
        self._parsed_head_bytes = 0
        self._received_head_bytes = 0
        self._has_completed_request = False  # with the data that are being parsed
        self._incomplete_part: Part | None = None  # of the request that is being received
        self._timed_part: Part | None = None  # the part that the read timer runs for
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Close the connection if there are too many; otherwise start its timer."""
        super().connection_made(transport)
        if len(self.connections) > self._listener.max_connections:
            transport.abort()
            self._listener.log_refused()
        else:
            self._expect(Part.FIRST_BYTE)

    def data_received(self, data: bytes) -> None:
        """Start a timer for the missing part; more bytes of it do not restart the timer, except
        BODY_BYTES_PER_TIMEOUT of a body.
        """
        self._has_completed_request = False
        super().data_received(data)
        if self._incomplete_part is Part.HEAD and not self._has_completed_request:
            # Counted here too, because the parser reports a header only when it ends.
            self._received_head_bytes += len(data)
            if self._received_head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The head of the request is too large.")
        if self._incomplete_part is Part.BODY and self._timed_part is Part.BODY:
            self._timed_body_bytes += len(data)
            if self._timed_body_bytes >= BODY_BYTES_PER_TIMEOUT:
                self._expect(None)  # and anew below
        # Received data stops uvicorn's own timer, but a blank line does not begin a request.
        self._expect(self._incomplete_part or (Part.FIRST_BYTE if self._is_idle else None))

    def on_message_begin(self) -> None:
        """Expect the rest of the head."""
        self._incomplete_part = Part.HEAD
        self._parsed_head_bytes = self._received_head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count the bytes. Raises HeadTooLarge."""
        self._count_head(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count the bytes. Raises HeadTooLarge."""
        self._count_head(name, value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Expect the body."""
        self._incomplete_part = Part.BODY
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect nothing more of this request."""
        self._incomplete_part, self._has_completed_request = None, True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Leave the timeout to uvicorn unless part of a request is still to be received."""
        super().on_response_complete()
        self._expect(self._incomplete_part)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers."""
        self._expect(None)
        self._cancel_write_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Start a timer for a client that does not read its response."""
        super().pause_writing()
        self._cancel_write_timer()
        self._write_timer = self.loop.call_later(self._timeouts.idle_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Cancel the timer."""
        self._cancel_write_timer()
        super().resume_writing()

    @property
    def _is_idle(self) -> bool:
        """Whether no request has begun since the last response."""
        return self.cycle is None or (self.cycle.response_complete and not self.pipeline)

    def _count_head(self, *fields: bytes) -> None:
        self._parsed_head_bytes += sum(map(len, fields))
        if self._parsed_head_bytes > MAX_HEAD_BYTES:
            raise HeadTooLarge

    def _expect(self, part: Part | None) -> None:
        """Run the read timer for a part of a request, or stop it."""
        if part is self._timed_part:
            return
        if self._read_timer is not None:
            self._read_timer.cancel()
        self._timed_part = part
        self._timed_body_bytes = 0
        # abort, because close would wait until the client has read the response.
        self._read_timer = None
        if part is not None:
            seconds = self._timeouts.of_part(part)
            self._read_timer = self.loop.call_later(seconds, self.transport.abort)

    def _cancel_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


def new_protocol_class(timeouts: ConnectionTimeouts, listener: Listener) -> type[TimeoutProtocol]:
    """A protocol class that uvicorn can create without further arguments."""

    class ConfiguredProtocol(TimeoutProtocol):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, timeouts=timeouts, listener=listener, **kwargs)

    return ConfiguredProtocol
