"""Requests for expensive work, and the representations that answer them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from fastapi import Request, Response

from service.api.caching import REVALIDATE, content_etag, has_etag, make_etag
from service.api.quarantine import quarantine_header
from service.flows.cache import Cache
from service.flows.maps.deferred import Deferred, Result
from service.flows.thread_pools import PoolName
from service.flows.work_kinds import WORK_KINDS, WorkKind

T = TypeVar("T")

ALL_EPOCHS = 1_000_000
"""For `ExpensiveRequest.map_count`: more maps than any interactive computation makes."""


@dataclass(frozen=True)
class Content:
    """A complete answer, to be sent at once or stored as a job's result."""

    body: bytes
    media_type: str
    headers: Mapping[str, str]

    @classmethod
    def of(cls, body: bytes, media_type: str) -> "Content":
        """An answer that is identified by its bytes."""
        etag = f'"{content_etag(body)}"'
        return cls(body, media_type, {"ETag": etag, "Cache-Control": REVALIDATE})

    @property
    def etag(self) -> str:
        """Its ETag, without quotes."""
        return self.headers["ETag"].strip('"')

    def response(self, request: Request) -> Response:
        """The response to a request; 304 where it has the ETag already."""
        headers = dict(self.headers)
        if has_etag(request, self.etag):
            return Response(status_code=304, headers=headers)
        return Response(self.body, media_type=self.media_type, headers=headers)


def _no_headers(_: object) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Representation(Generic[T]):
    """A deferred result in one media type.

    `variant` distinguishes the representations of one result, `headers` are read from its value,
    `fixed_headers` are those of a 304 too, and `cache` holds encoded answers.
    """

    deferred: Deferred[T]
    media_type: str
    encode: Callable[[T], bytes]
    variant: str = ""
    headers: Callable[[T], Mapping[str, str]] = _no_headers
    fixed_headers: Mapping[str, str] = field(default_factory=dict)
    cache: Cache[Content] | None = None

    @property
    def etag(self) -> str:
        """The ETag, without quotes."""
        return make_etag(self.deferred.identity, self.variant)

    def peek(self) -> Content | None:
        """The answer if nothing has to be computed for it, else None."""
        if self.cache is not None:
            return self.cache.peek(self.etag)
        result = self.deferred.peek()
        return None if result is None else self._content(result)

    def content(self) -> Content:
        """The answer, computed if necessary."""
        if self.cache is None:
            return self._content(self.deferred.compute())
        content = self.cache.get_or_make(self.etag, lambda: self._content(self.deferred.compute()))
        if content.etag != self.etag:
            self.cache.discard(self.etag)
        return content

    def not_modified(self) -> Content:
        """The answer to a client that has the body."""
        return Content(b"", self.media_type, self._common_headers(self.etag))

    def _content(self, result: Result[T]) -> Content:
        headers = {
            **self._common_headers(make_etag(result.identity, self.variant)),
            **quarantine_header(result.quarantined_epochs),
            **self.headers(result.value),
        }
        return Content(self.encode(result.value), self.media_type, headers)

    def _common_headers(self, etag: str) -> dict[str, str]:
        return {
            "ETag": f'"{etag}"',
            "Cache-Control": REVALIDATE,
            "X-Content-Type-Options": "nosniff",
            **self.fixed_headers,
        }


@dataclass(frozen=True)
class ExpensiveRequest:
    """A request for expensive work; `represent` resolves it without computing its result."""

    kind_name: str
    represent: Callable[[], Representation[Any]]
    metrics_label: str = ""
    methods: Sequence[str] = ()  # texts of MethodSpecs
    map_count: int = 1  # maps that resolving it may compute

    @property
    def kind(self) -> WorkKind:
        """Its kind of work."""
        return WORK_KINDS[self.kind_name]

    def pool(self, representation: Representation[Any] | None) -> PoolName:
        """The pool that computes it; None is resolved in the same pool first."""
        map_count = representation.deferred.map_count if representation else self.map_count
        return self.kind.pool_for(self.methods, map_count)

    def content(self) -> Content:
        """The answer, resolved and computed in this thread."""
        return self.represent().content()
