"""Parts of downloads, which can be resumed: `Range`, `If-Range` (RFC 9110, 14 and 13.1.5)."""

import re
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import problem_response
from service.errors import RangeNotSatisfiable

_SINGLE_RANGE = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.ASCII | re.IGNORECASE)
_MOST_DIGITS = 18  # of a position; a longer one lies beyond the end of anything


@dataclass(frozen=True)
class RangeMiddleware:
    """Sends the part that `Range` names of an answer to GET with a length and a strong ETag.

    An answer without such an ETag is sent whole: parts of two versions would not fit. So is one
    that is asked for in several ranges, which RFC 9110 leaves to the server. Preconditions come
    first: a 304 or an error is no 200, and passes.
    """

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with all of it, a part (206), or 416."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        request = Headers(scope=scope)
        part: slice | None = None
        position = 0
        refused = False

        async def send_part(message: Message) -> None:
            nonlocal part, position, refused
            if message["type"] == "http.response.start" and _is_divisible(message):
                try:
                    part = _start_part(request, message)
                except RangeNotSatisfiable as error:
                    refused = True
                    await problem_response(scope, error)(scope, receive, send)
            elif part is not None and message["type"] == "http.response.body":
                body = message.get("body", b"")
                first, end = (max(0, at - position) for at in (part.start, part.stop))
                position += len(body)
                message = {**message, "body": body[first:end]}
            if not refused:
                await send(message)

        await self.app(scope, receive, send_part)


def _is_divisible(start: Message) -> bool:
    headers = Headers(scope=start)
    return (
        start["status"] == 200
        and headers.get("etag", "").startswith('"')
        and headers.get("content-length", "").isdigit()
    )


def _start_part(request: Headers, start: Message) -> slice | None:
    """The part to send, with its head; None for all. Raises RangeNotSatisfiable."""
    headers = MutableHeaders(scope=start)
    headers["Accept-Ranges"] = "bytes"
    # A date is no validator here: no answer has Last-Modified.
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
    """The bytes that the `Range` fields name of `length`; None where they name no single range.

    Raises RangeNotSatisfiable for a range that has none of them.
    """
    match = _SINGLE_RANGE.fullmatch(fields[0].strip()) if len(fields) == 1 else None
    if match is None or not any(match.groups()):
        return None
    first, last = (_position(digits) for digits in match.groups())
    if first is None:
        if last == 0:
            raise RangeNotSatisfiable(length)
        return slice(max(0, length - (last or 0)), length) if length else None
    if last is not None and last < first:
        return None
    if first >= length:
        raise RangeNotSatisfiable(length)
    return slice(first, length if last is None else min(last + 1, length))


def _position(digits: str) -> int | None:
    if not digits:
        return None
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS
