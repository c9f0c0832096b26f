"""Answers kept as the messages that the server sends, while the database is unchanged.

Resolving a request for a map that is cached takes ten times as long as sending the picture. Nothing
but the database decides what a request resolves to, so an answer stays valid until the next commit.
"""

import math
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

from cachetools import LRUCache
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.caching import etag_matches
from service.api.work import Content
from service.flows.cache_sizes import DEFAULT_CACHE_SIZES
from service.store.data_version import Version

HEADER_BYTES = 1_000  # counted for each answer besides its body

MAX_SECONDS = 60.0
"""After which a request is resolved again; that records the use of an upload."""

_REPRESENTATION_HEADERS = (b"accept", b"accept-encoding")
_BYPASS_HEADERS = frozenset({b"range", b"if-range", b"prefer"})

RawHeaders = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class PreparedAnswer:
    """A 200 and a 304 response. Without a body, which a 304 does not need, only the 304."""

    version: Version | None  # None: it depends on nothing in the database
    expires_at: float  # time.monotonic
    etag: str
    headers: RawHeaders
    not_modified_headers: RawHeaders
    body: bytes | None


class PreparedAnswers:
    """Prepared answers by request. For the event loop's thread."""

    def __init__(
        self,
        read_version: Callable[[], Version | None],
        max_bytes: int = DEFAULT_CACHE_SIZES.prepared_answers,
    ) -> None:
        """`read_version`: the version of the database; None if it cannot be known, as of a
        database server. Then only constant answers are kept.
        """
        self.read_version = read_version
        self._answers: LRUCache[Hashable, PreparedAnswer] = LRUCache(
            max_bytes, getsizeof=lambda answer: len(answer.body or b"") + HEADER_BYTES
        )
        self.hits = 0
        self.misses = 0

    def get(self, scope: Scope) -> list[Message] | None:
        """The messages that answer the request; None if it has to be resolved."""
        key = _key(scope)
        answer = self._answers.get(key)
        messages = None if answer is None else self._messages(answer, scope)
        if messages is None:
            self.misses += 1
        else:
            self.hits += 1
        return messages

    def put(self, scope: Scope, version: Version | None, content: Content) -> None:
        """Keep an answer to the request, made from the database since that version was read."""
        if version is not None:
            self._put(_key(scope), version, time.monotonic() + MAX_SECONDS, content)

    def put_constant(self, scope: Scope, content: Content) -> None:
        """Keep an answer that is the same as long as this process lives."""
        if not scope["query_string"]:
            self._put(_key(scope), None, math.inf, content)

    def _put(
        self, key: Hashable, version: Version | None, expires_at: float, content: Content
    ) -> None:
        if key is None:
            return
        body = content.body or None
        previous = self._answers.get(key)
        if body is None and previous is not None and previous.etag == content.etag:
            # The same answer, with headers that a 304 lacks, such as the coding of its body.
            self._answers[key] = replace(previous, version=version, expires_at=expires_at)
            return
        response = Response(body, headers=dict(content.headers), media_type=content.media_type)
        answer = PreparedAnswer(
            version,
            expires_at,
            content.etag,
            [*response.raw_headers, (b"accept-ranges", b"bytes")],
            Response(status_code=304, headers=dict(content.headers)).raw_headers,
            body,
        )
        if self._answers.getsizeof(answer) <= self._answers.maxsize:
            self._answers[key] = answer

    def _messages(self, answer: PreparedAnswer, scope: Scope) -> list[Message] | None:
        if answer.version is not None and (
            time.monotonic() >= answer.expires_at or self.read_version() != answer.version
        ):
            return None
        known = b", ".join(value for name, value in scope["headers"] if name == b"if-none-match")
        if known and etag_matches(known.decode("latin-1"), answer.etag):
            return _messages(304, answer.not_modified_headers, b"")
        return None if answer.body is None else _messages(200, answer.headers, answer.body)


class PreparedAnswersMiddleware:
    """Sends prepared answers. Inside of access control, which has admitted the request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or call the application."""
        messages = None
        if scope["type"] == "http" and scope["method"] == "GET":
            messages = scope["app"].state.services.prepared_answers.get(scope)
        if messages is None:
            await self._app(scope, receive, send)
            return
        for message in messages:
            await send(message)


def _key(scope: Scope) -> Hashable:
    """Identifies the requested representation; None if its answer is never prepared."""
    representation: RawHeaders = []
    for name, value in scope["headers"]:
        if name in _BYPASS_HEADERS:
            return None
        if name in _REPRESENTATION_HEADERS:
            representation.append((name, value))
    return scope["raw_path"], scope["query_string"], *representation


def _messages(status: int, headers: RawHeaders, body: bytes) -> list[Message]:
    # A copy, because outer middleware adds headers to it.
    start = {"type": "http.response.start", "status": status, "headers": [*headers]}
    return [start, {"type": "http.response.body", "body": body}]
