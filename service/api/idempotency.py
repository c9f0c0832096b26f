"""`Idempotency-Key`: a repeated request gets the same response, and is executed once."""

import hashlib
from typing import Annotated

from fastapi import Depends, Header, Request, Response

from service.api.request_context import request_context
from service.store.request_keys import RequestKey

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[ -~]{1,128}$",
        max_length=128,
        description="A key that the client chooses for this request: 1 to 128 printable ASCII "
        "characters. The same request with the same key within 24 hours is executed once and gets "
        "the same response. A different request with that key is rejected.",
    ),
]

REPLAYED_HEADER = {
    "Idempotent-Replayed": {
        "description": "`true` if the response is that of an earlier request with this key.",
        "schema": {"type": "string", "const": "true"},
    }
}


async def _key_of_body(request: Request, key: IdempotencyKey = None) -> RequestKey | None:
    return request_key(request, key, await request.body()) if key is not None else None


BodyRequestKey = Annotated[RequestKey | None, Depends(_key_of_body)]
"""The request key of an endpoint whose requests are identified by their whole body."""


def request_key(request: Request, key: str, content: bytes) -> RequestKey:
    """Digests of (principal, key) and of (method, path, query, content)."""
    principal = request_context(request.scope).principal
    # Clients that choose the same key must not see each other's responses.
    owned_key = f"{principal.rate_limit_key if principal else ''}\0{key}".encode()
    url = request.url
    target = f"{request.method}\0{url.path}\0{url.query}\0".encode()
    return RequestKey(
        hashlib.sha256(owned_key).hexdigest(), hashlib.sha256(target + content).hexdigest()
    )


def set_replayed_header(response: Response, replayed: bool) -> None:
    """Set `Idempotent-Replayed` if the response is that of an earlier request."""
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
