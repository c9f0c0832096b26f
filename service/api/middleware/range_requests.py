"""Range requests, so that downloads can be resumed (RFC 9110, 14 and 13.1.5)."""

import re
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.errors import RangeNotSatisfiable
from service.api.problems import problem_response

_SINGLE_RANGE = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.ASCII | re.IGNORECASE)
_MAX_POSITION_DIGITS = 18  # a longer position exceeds every content length


@dataclass(frozen=True)
class RangeMiddleware:
    """Applies `Range` to 200 responses of GET with a Content-Length and a strong ETag.

    Without a strong ETag the whole content is sent, because parts of two versions would not match.
    Several ranges in one request are ignored, which RFC 9110 permits. Preconditions are evaluated
    first: a 304 or an error passes unchanged.
    """

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all of the content, a part of it (206), or 416."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        request = Headers(scope=scope)
        part: slice | None = None
        position = 0
        is_unsatisfiable = False

        async def send_part(message: Message) -> None:
            nonlocal part, position, is_unsatisfiable
            if message["type"] == "http.response.start" and _supports_ranges(message):
                try:
                    part = _apply_range(request, message)
                except RangeNotSatisfiable as error:
                    is_unsatisfiable = True
                    await problem_response(scope, error)(scope, receive, send)
            elif part is not None and message["type"] == "http.response.body":
                body = message.get("body", b"")
                start, stop = (max(0, p - position) for p in (part.start, part.stop))
                position += len(body)
                message = {**message, "body": body[start:stop]}
            if not is_unsatisfiable:
                await send(message)

        await self.app(scope, receive, send_part)


def _supports_ranges(start: Message) -> bool:
    headers = Headers(scope=start)
    return (
        start["status"] == 200
        and headers.get("etag", "").startswith('"')
        and headers.get("content-length", "").isdigit()
    )


def _apply_range(request: Headers, start: Message) -> slice | None:
    """The part to send, None for all; edits the response's headers and status.

    Raises RangeNotSatisfiable.
    """
    headers = MutableHeaders(scope=start)
    headers["Accept-Ranges"] = "bytes"
    # Only an ETag can match: no response has Last-Modified.
    if request.get("if-range", headers["etag"]).strip() != headers["etag"]:
        return None
    length = int(headers["content-length"])
    part = parse_range(request.getlist("range"), length)
    if part is not None:
        start["status"] = 206
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{length}"
        headers["Content-Length"] = str(part.stop - part.start)
    return part


def parse_range(fields: list[str], length: int) -> slice | None:
    """The byte range of a content of `length` bytes; None unless the fields hold a single range.

    Raises RangeNotSatisfiable for a range outside the content.
    """
    match = _SINGLE_RANGE.fullmatch(fields[0].strip()) if len(fields) == 1 else None
    if match is None or not any(match.groups()):
        return None
    start, end = (_position(digits) for digits in match.groups())
    if start is None:
        if end == 0:
            raise RangeNotSatisfiable(length)
        return slice(max(0, length - (end or 0)), length) if length else None
    if end is not None and end < start:
        return None
    if start >= length:
        raise RangeNotSatisfiable(length)
    return slice(start, length if end is None else min(end + 1, length))


def _position(digits: str) -> int | None:
    if not digits:
        return None
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MAX_POSITION_DIGITS else 10**_MAX_POSITION_DIGITS
