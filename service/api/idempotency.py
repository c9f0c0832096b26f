"""`Idempotency-Key`: a request sent again under its key is answered again, and done once."""

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
        description="A name of the client's for this request, 1 to 128 printable ASCII characters. "
        "The same request under the same name within 24 hours gives the same answer, done once; "
        "another request under it is refused.",
    ),
]

REPLAYED_HEADER = {
    "Idempotent-Replayed": {
        "description": "`true` where the answer is that of an earlier request with this key.",
        "schema": {"type": "string", "const": "true"},
    }
}


async def _key_of_body(request: Request, key: IdempotencyKey = None) -> RequestKey | None:
    return request_key(request, key, await request.body()) if key is not None else None


BodyRequestKey = Annotated[RequestKey | None, Depends(_key_of_body)]
"""The key of a request that its whole body tells from others."""


def request_key(request: Request, key: str, content: bytes) -> RequestKey:
    """The key, of who asks alone, with a digest of method, path, query and content."""
    who = request_context(request.scope).principal
    # Two clients may choose the same name, and neither is to be told what the other did under it.
    own = f"{who.rate_limit_key if who else ''}\0{key}".encode()
    url = request.url
    parts = f"{request.method}\0{url.path}\0{url.query}\0".encode()
    return RequestKey(hashlib.sha256(own).hexdigest(), hashlib.sha256(parts + content).hexdigest())


def set_replayed_header(response: Response, replayed: bool) -> None:
    """Say so where nothing was done again."""
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
