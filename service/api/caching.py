"""Conditional answers: a client that has the bytes already costs no torch."""

from collections.abc import Callable

from fastapi import Request, Response

IMMUTABLE = "private, max-age=31536000, immutable"
REVALIDATE = "private, no-cache"


def conditional(
    request: Request,
    etag: str,
    draw: Callable[[], bytes],
    media_type: str,
    *,
    immutable: bool,
    extra: Callable[[], dict[str, str]] = dict,
) -> Response:
    """304 where `If-None-Match` names the etag, else the bytes that `draw` makes.

    `extra` gives headers that take work, and is not called for a 304.
    """
    headers = {
        "ETag": f'"{etag}"',
        "Cache-Control": IMMUTABLE if immutable else REVALIDATE,
        "X-Content-Type-Options": "nosniff",
    }
    if _matches(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    content = draw()
    return Response(content, media_type=media_type, headers=headers | extra())


def _matches(header: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in tags or f'"{etag}"' in tags
