"""Work for a client that has gone is ended, unless another waits for the same."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.core.cancellation import cancellable

_KEY = "camreel.departure"


class DisconnectSignal:
    """Whether the client of a request has gone. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._gone = threading.Event()
        self._callback: Callable[[], None] | None = None

    @property
    def has_occurred(self) -> bool:
        """Whether the client has gone; for any thread."""
        return self._gone.is_set()

    def on_disconnect(self, callback: Callable[[], None]) -> None:
        """Call it when the client goes, or now if it has gone; replaces the one before."""
        self._callback = callback
        if self.has_occurred:
            callback()

    def set(self) -> None:
        """The client has gone."""
        self._gone.set()
        if self._callback is not None:
            self._callback()


def disconnect_signal(scope: Scope) -> DisconnectSignal:
    """That of a request's client; one that never happens where nobody listens for it."""
    signal: DisconnectSignal = scope.get(_KEY) or DisconnectSignal()
    return signal


class ClientDisconnectMiddleware:
    """Watches whether who asked is still there, and tells the work in hand.

    Of GET alone: what changes something is done, whether its answer is heard or not.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and listen meanwhile."""
        if scope["type"] != "http" or scope["method"] != "GET":
            return await self._app(scope, receive, send)
        departure = scope[_KEY] = DisconnectSignal()
        messages: asyncio.Queue[Message] = asyncio.Queue(1)

        async def listen() -> None:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    departure.set()
                    await messages.put(message)
                    return
                if messages.empty():
                    messages.put_nowait(message)
                # Else more of a body that no GET reads: dropped, or its end would not be seen.
                # A server may have the next message at once: others have their turn all the same.
                await asyncio.sleep(0)

        async def next_message() -> Message:
            message = await messages.get()
            if message["type"] == "http.disconnect":
                messages.put_nowait(message)  # whoever asks again is told the same
            return message

        listener = asyncio.create_task(listen())
        try:
            with cancellable(lambda: not departure.has_occurred):
                await self._app(scope, next_message, send)
        finally:
            listener.cancel()
            with suppress(asyncio.CancelledError):
                await listener
