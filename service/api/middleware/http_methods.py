"""HEAD, OPTIONS and the `Allow` header for every path (RFC 9110, 9.3.2, 9.3.7, 10.2.1)."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.request_context import request_context
from service.api.route_table import RouteTable

# Range applies to GET only (RFC 9110, 14.2), and HEAD must not create a job.
_GET_ONLY = {b"range", b"if-range", b"prefer"}


@dataclass(frozen=True)
class HttpMethodsMiddleware:
    """Handles HEAD as GET without a body, handles OPTIONS, and completes `Allow` of a 405."""

    app: ASGIApp
    routes: RouteTable

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Dispatch on the method."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        allow = ", ".join(self.routes.allowed_methods(request_context(scope).route_template))

        async def send_with_allow(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 405:
                MutableHeaders(scope=message)["Allow"] = allow
            await send(message)

        if scope["method"] == "OPTIONS" and allow:
            await Response(status_code=204, headers={"Allow": allow})(scope, receive, send)
        elif scope["method"] == "HEAD":
            await self._head(scope, receive, send_with_allow)
        else:
            await self.app(scope, receive, send_with_allow)

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the headers that GET would have; cancel a response that streams."""
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

        async def call() -> None:
            await self.app(get, receive, send_head)

        calling = asyncio.create_task(call())
        waiting = asyncio.create_task(streaming.wait())
        try:
            await asyncio.wait({calling, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if streaming.is_set():
                calling.cancel()
            with suppress(asyncio.CancelledError):
                await calling
        finally:
            calling.cancel()
            waiting.cancel()
