"""Stops the work of a GET whose client has disconnected, unless another request shares it."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.core.cancellation import cancellable

_KEY = "camreel.disconnect_signal"


class DisconnectSignal:
    """Whether the client of a request has disconnected. Set in the event loop's thread."""

    def __init__(self) -> None:
        self._disconnected = threading.Event()
        self._callback: Callable[[], None] | None = None

    @property
    def has_occurred(self) -> bool:
        """Whether the client has disconnected; safe in any thread."""
        return self._disconnected.is_set()

    def on_disconnect(self, callback: Callable[[], None]) -> None:
        """Call this on disconnect, or at once after it. Replaces the previous callback."""
        self._callback = callback
        if self.has_occurred:
            callback()

    def set(self) -> None:
        """Record the disconnect and run the callback."""
        self._disconnected.set()
        if self._callback is not None:
            self._callback()


def disconnect_signal(scope: Scope) -> DisconnectSignal:
    """The request's signal; one that is never set if the middleware does not watch the request."""
    signal: DisconnectSignal = scope.get(_KEY) or DisconnectSignal()
    return signal


class ClientDisconnectMiddleware:
    """Listens for the disconnect while a GET is handled.

    Other methods run to completion: a change is made whether or not its response is received.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application with a disconnect signal in the scope."""
        if scope["type"] != "http" or scope["method"] != "GET":
            return await self._app(scope, receive, send)
        signal = scope[_KEY] = DisconnectSignal()
        messages: asyncio.Queue[Message] = asyncio.Queue(1)

        async def listen() -> None:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    signal.set()
                    await messages.put(message)
                    return
                if messages.empty():
                    messages.put_nowait(message)
                # Further body chunks are dropped: no GET reads them, and a full queue would hide
                # the disconnect. Yield, because receive() may return without suspending.
                await asyncio.sleep(0)

        async def next_message() -> Message:
            message = await messages.get()
            if message["type"] == "http.disconnect":
                messages.put_nowait(message)  # for the next call
            return message

        listener = asyncio.create_task(listen())
        try:
            with cancellable(lambda: not signal.has_occurred):
                await self._app(scope, next_message, send)
        finally:
            listener.cancel()
            with suppress(asyncio.CancelledError):
                await listener
