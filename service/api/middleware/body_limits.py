"""Limits the size of request bodies, by Content-Length and as chunks arrive."""

from collections.abc import Mapping

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.request_context import request_context


class BodyLimitMiddleware:
    """Rejects bodies larger than `default_bytes`, or the value of their route, by method and
    path template: 413.

    FastAPI has a limit of its own, but responds to it in plain text instead of problem+json.
    """

    def __init__(
        self, app: ASGIApp, default_bytes: int, bytes_by_route: Mapping[tuple[str, str], int]
    ) -> None:
        self._app = app
        self._default_bytes = default_bytes
        self._bytes_by_route = bytes_by_route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reject at once by Content-Length; otherwise count the bytes received."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        route = scope["method"], request_context(scope).route_template or ""
        limit_bytes = self._bytes_by_route.get(route, self._default_bytes)
        if _content_length(scope) > limit_bytes:
            response = _content_too_large(limit_bytes)
            return await response(scope, receive, send)
        received_bytes = 0

        async def receive_limited() -> Message:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > limit_bytes:
                raise HTTPException(413, _detail(limit_bytes), {"connection": "close"})
            return message

        return await self._app(scope, receive_limited, send)


def _content_length(scope: Scope) -> int:
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return max((int(value) for value in lengths if value.isdigit()), default=0)


def _content_too_large(limit_bytes: int) -> JSONResponse:
    problem = {
        "type": "content-too-large",
        "title": "Content too large",
        "status": 413,
        "detail": _detail(limit_bytes),
        "maximum_bytes": limit_bytes,
    }
    # The body is not read, so the connection cannot be reused.
    headers = {"cache-control": "no-store", "connection": "close"}
    return JSONResponse(problem, 413, headers, "application/problem+json")


def _detail(limit_bytes: int) -> str:
    return f"The request body exceeds the limit of {limit_bytes} bytes."
