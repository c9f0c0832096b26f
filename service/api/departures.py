"""Work for a client that has gone is ended, unless another waits for the same."""

import asyncio
import threading
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.core.cancellation import while_wanted


class Departures:
    """Watches whether who asked is still there, and tells the work in hand.

    Of GET alone: what changes something is done, whether its answer is heard or not.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and listen meanwhile."""
        if scope["type"] != "http" or scope["method"] != "GET":
            return await self._app(scope, receive, send)
        gone = threading.Event()
        # One at a time: a body that nobody reads stays with the server.
        messages: asyncio.Queue[Message] = asyncio.Queue(1)

        async def listen() -> None:
            while not gone.is_set():
                message = await receive()
                if message["type"] == "http.disconnect":
                    gone.set()
                await messages.put(message)

        async def next_message() -> Message:
            message = await messages.get()
            if message["type"] == "http.disconnect":
                messages.put_nowait(message)  # whoever asks again is told the same
            return message

        listener = asyncio.create_task(listen())
        try:
            with while_wanted(lambda: not gone.is_set()):
                await self._app(scope, next_message, send)
        finally:
            listener.cancel()
            with suppress(asyncio.CancelledError):
                await listener
