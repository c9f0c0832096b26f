"""Timeouts for idle connections and for requests that never complete."""

import asyncio
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.cli.listener import TOO_MANY_CONNECTIONS, Listener
from service.settings import Settings


@dataclass(frozen=True)
class ConnectionTimeouts:
    """Timeouts of a connection, in seconds."""

    header_seconds: float  # for the headers of a request, from the first byte to the last
    idle_seconds: float  # for the body; for the first byte; for a response that is not read

    @classmethod
    def from_settings(cls, settings: Settings) -> "ConnectionTimeouts":
        """The timeouts of the service's settings."""
        return cls(settings.header_seconds, settings.idle_seconds)

    def of_part(self, part: str) -> float:
        """The timeout for `first byte`, `headers` or `body` of a request."""
        return self.header_seconds if part == "headers" else self.idle_seconds


class TimeoutProtocol(H11Protocol):
    """uvicorn's protocol, which also closes connections that exceed the timeouts or the limit.

    uvicorn itself has no timeout for incomplete headers and bodies. Between a response and the next
    request its `timeout_keep_alive` applies.
    """

    def __init__(
        self, *args: Any, timeouts: ConnectionTimeouts, listener: Listener, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._timeouts = timeouts
        self._listener = listener
        self._expected: str | None = None  # the part that the read timer runs for
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Close the connection if there are too many; otherwise start its timer."""
        super().connection_made(transport)
        if len(self.connections) > self._listener.max_connections:
            transport.abort()
            self._listener.log_refused(TOO_MANY_CONNECTIONS)
        else:
            self._expect("first byte")

    def data_received(self, data: bytes) -> None:
        """Start a timer for the missing part; more bytes of it do not restart the timer."""
        super().data_received(data)
        # Received data stops uvicorn's own timer, but a blank line does not begin a request.
        self._expect(self._missing_part() or ("first byte" if self._is_idle() else None))

    def on_response_complete(self) -> None:
        """Leave the timeout to uvicorn unless part of the next request has been received."""
        super().on_response_complete()
        self._expect(self._missing_part())

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers."""
        self._expect(None)
        self._cancel_write_timer()
        super().connection_lost(exc)
        self._listener.connection_lost()

    def pause_writing(self) -> None:
        """Start a timer for a client that does not read its response."""
        super().pause_writing()
        self._cancel_write_timer()
        self._write_timer = self.loop.call_later(self._timeouts.idle_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Cancel the timer."""
        self._cancel_write_timer()
        super().resume_writing()

    def _is_idle(self) -> bool:
        return self.conn.their_state is h11.IDLE

    def _missing_part(self) -> str | None:
        """The part of the current request that has not been received; None if complete."""
        if self._is_idle() and self.conn.trailing_data[0]:
            return "headers"
        return "body" if self.conn.their_state is h11.SEND_BODY else None

    def _expect(self, part: str | None) -> None:
        """Run the read timer for a part of a request, or stop it."""
        if part == self._expected:
            return
        if self._read_timer is not None:
            self._read_timer.cancel()
        self._expected = part
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
