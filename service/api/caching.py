"""ETags and conditional responses: a 304 costs no computation.

A URL such as `/runs/1/epochs/2/cam` can refer to another run in another database. Therefore no
response is `immutable`: clients revalidate, and an ETag depends on everything in the content.
"""

import hashlib
from collections.abc import Callable

from fastapi import Request, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REVALIDATE = "private, no-cache"

MEDIA_TYPES = ("application/json", "text/csv", "text/markdown")
"""Types of responses that `ContentETagMiddleware` tags: small and not streamed."""


def make_etag(identity: str, variant: str = "") -> str:
    """The ETag, without quotes, of one representation of a result with that identity."""
    return f"{identity}-{variant}" if variant else identity


def content_etag(content: bytes) -> str:
    """An ETag, without quotes, of content that exists already: 128 bits of its SHA-256."""
    return hashlib.sha256(content).hexdigest()[:32]


def conditional(
    request: Request,
    etag: str,
    draw: Callable[[], bytes],
    media_type: str,
    *,
    extra: Callable[[], dict[str, str]] = dict,
) -> Response:
    """304 if `If-None-Match` contains the ETag, otherwise the content that `draw` returns.

    `extra` returns headers that are expensive to compute. It is not called for a 304.
    """
    headers = {
        "ETag": f'"{etag}"',
        "Cache-Control": REVALIDATE,
        "X-Content-Type-Options": "nosniff",
    }
    if has_etag(request, etag):
        return Response(status_code=304, headers=headers)
    content = draw()
    return Response(content, media_type=media_type, headers=headers | extra())


class ContentETagMiddleware:
    """Adds ETags of the content to GET responses without one, and evaluates If-None-Match."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application; responses of other types pass through."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        content = b""

        async def tag(message: Message) -> None:
            nonlocal start, content
            if message["type"] == "http.response.start" and _is_untagged(message):
                start = message
            elif start is None or message["type"] != "http.response.body":
                await send(message)
            else:
                content += message.get("body", b"")
                if not message.get("more_body", False):
                    await _send_tagged(Headers(scope=scope), start, content, send)

        await self._app(scope, receive, tag)


async def _send_tagged(request: Headers, start: Message, content: bytes, send: Send) -> None:
    etag = content_etag(content)
    headers = MutableHeaders(scope=start)
    headers["ETag"] = f'"{etag}"'
    headers.setdefault("Cache-Control", REVALIDATE)
    if etag_matches(request.get("if-none-match", ""), etag):
        start["status"], content = 304, b""
        for name in ("content-length", "content-type"):
            del headers[name]
    await send(start)
    await send({"type": "http.response.body", "body": content})


def _is_untagged(start: Message) -> bool:
    headers = Headers(scope=start)
    return (
        start["status"] == 200
        and headers.get("content-type", "").split(";")[0] in MEDIA_TYPES
        and "etag" not in headers
        and "no-store" not in headers.get("cache-control", "")
    )


def has_etag(request: Request, etag: str) -> bool:
    """Whether `If-None-Match` contains the ETag, given without quotes."""
    return etag_matches(request.headers.get("if-none-match", ""), etag)


def etag_matches(header: str, etag: str) -> bool:
    """Whether an `If-None-Match` header contains the ETag, given without quotes."""
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in tags or f'"{etag}"' in tags
