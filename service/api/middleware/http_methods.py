"""HEAD, OPTIONS and `Allow` of every path (RFC 9110, 9.3.2, 9.3.7, 10.2.1)."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.request_context import request_context
from service.api.route_table import RouteTable

# RFC 9110, 14.2: Range has a meaning for GET alone. And HEAD creates no job.
_GET_ONLY = {b"range", b"if-range", b"prefer"}


@dataclass(frozen=True)
class HttpMethodsMiddleware:
    """Answers HEAD as GET without a body, and OPTIONS; completes `Allow` of a 405."""

    app: ASGIApp
    routes: RouteTable

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by the method."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        allowed = ", ".join(self.routes.allowed_methods(request_context(scope).route_template))

        async def with_allow(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 405:
                MutableHeaders(scope=message)["Allow"] = allowed
            await send(message)

        if scope["method"] == "OPTIONS" and allowed:
            await Response(status_code=204, headers={"Allow": allowed})(scope, receive, send)
        elif scope["method"] == "HEAD":
            await self._head(scope, receive, with_allow)
        else:
            await self.app(scope, receive, with_allow)

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The head that GET would have. What would go on to stream is ended."""
        headers = [(name, value) for name, value in scope["headers"] if name not in _GET_ONLY]
        get = {**scope, "method": "GET", "headers": headers}
        streaming = asyncio.Event()

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                if "content-length" not in MutableHeaders(scope=message):
                    streaming.set()
            elif message.get("more_body", False):
                streaming.set()

        async def answer() -> None:
            await self.app(get, receive, send_head)

        answering = asyncio.create_task(answer())
        waiting = asyncio.create_task(streaming.wait())
        try:
            await asyncio.wait({answering, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if streaming.is_set():
                answering.cancel()
            with suppress(asyncio.CancelledError):
                await answering
        finally:
            answering.cancel()
            waiting.cancel()
