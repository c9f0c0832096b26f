"""How large a request's body may be, whether it says so itself or comes in chunks."""

from collections.abc import Mapping

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimitMiddleware:
    """Refuses bodies larger than `most` bytes, or what `others` has for a method and path: 413.

    Not the framework's own limit, whose answer is plain text, and no problem.
    """

    def __init__(
        self, app: ASGIApp, default_bytes: int, bytes_by_route: Mapping[tuple[str, str], int]
    ) -> None:
        self._app = app
        self._most = default_bytes
        self._others = bytes_by_route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer at once where the head says too much; else count what comes."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        limit = self._others.get((scope["method"], scope["path"]), self._most)
        if _told(scope) > limit:
            problem = {
                "type": "content-too-large",
                "title": "Content too large",
                "status": 413,
                "detail": _detail(limit),
                "maximum_bytes": limit,
            }
            # The body is not read: the connection cannot be used again.
            headers = {"cache-control": "no-store", "connection": "close"}
            answer = JSONResponse(problem, 413, headers, "application/problem+json")
            return await answer(scope, receive, send)
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise HTTPException(413, _detail(limit), {"connection": "close"})
            return message

        return await self._app(scope, counted, send)


def _told(scope: Scope) -> int:
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return max((int(value) for value in lengths if value.isdigit()), default=0)


def _detail(limit: int) -> str:
    return f"The body is larger than {limit} bytes, which is the most that is taken here."
