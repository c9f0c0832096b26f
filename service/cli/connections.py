"""Connections that neither stay open for nothing nor wait for a request that never comes whole."""

import asyncio
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.cli.listener import TOO_MANY, Listener
from service.settings import Settings


@dataclass(frozen=True)
class Patience:
    """How long a connection may take."""

    header_seconds: float  # for a request's head, from its first byte to its last
    idle_seconds: float  # for its body; for the first byte on a connection; for an unread answer

    @classmethod
    def of(cls, settings: Settings) -> "Patience":
        """As the settings say."""
        return cls(settings.header_seconds, settings.idle_seconds)


def protocol_with(  # noqa: C901  its class is counted in
    patience: Patience, listener: Listener
) -> type[H11Protocol]:
    """uvicorn's own protocol, but for connections that take longer than that: they are closed.

    uvicorn itself waits without end for a head that has begun, and for a body. Between one answer
    and the next request its `timeout_keep_alive` rules.
    """
    seconds = {
        "silent": patience.idle_seconds,
        "head": patience.header_seconds,
        "body": patience.idle_seconds,
    }

    class PatientProtocol(H11Protocol):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self._awaited: str | None = None  # what the timer runs for, a key of `seconds`
            self._timer: asyncio.TimerHandle | None = None
            self._unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            """Refuse one too many at once; give another time to say something."""
            super().connection_made(transport)
            if len(self.connections) > listener.max_connections:
                transport.abort()
                listener.log_refused(TOO_MANY)
            else:
                self._wait_for("silent")

        def data_received(self, data: bytes) -> None:
            """Read on; what is awaited has its time as a whole, however many pieces it comes in."""
            super().data_received(data)
            # uvicorn's timer has ended with what came: a blank line is no request either.
            self._wait_for(self._missing() or ("silent" if self._idle() else None))

        def on_response_complete(self) -> None:
            """From here uvicorn's timer runs, if no part of another request is there already."""
            super().on_response_complete()
            self._wait_for(self._missing())

        def connection_lost(self, exc: Exception | None) -> None:
            """No timer outlives its connection."""
            self._wait_for(None)
            self._read()
            super().connection_lost(exc)
            listener.connection_lost()

        def pause_writing(self) -> None:
            """The client is slow to read."""
            super().pause_writing()
            self._read()
            self._unread = self.loop.call_later(patience.idle_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            """It has read."""
            self._read()
            super().resume_writing()

        def _idle(self) -> bool:
            return self.conn.their_state is h11.IDLE

        def _missing(self) -> str | None:
            """What of a request that has begun is still to come."""
            if self._idle() and self.conn.trailing_data[0]:
                return "head"
            return "body" if self.conn.their_state is h11.SEND_BODY else None

        def _wait_for(self, what: str | None) -> None:
            if what == self._awaited:
                return
            if self._timer is not None:
                self._timer.cancel()
            self._awaited = what
            # Abort, not close: that would wait for a client which may read nothing.
            self._timer = (
                self.loop.call_later(seconds[what], self.transport.abort) if what else None
            )

        def _read(self) -> None:
            if self._unread is not None:
                self._unread.cancel()
                self._unread = None

    return PatientProtocol
