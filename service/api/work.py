"""A request for expensive work, and its answer described before it is computed."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fastapi import Request, Response

from service.api.caching import REVALIDATE, has_etag
from service.errors import CheckpointCorrupt
from service.flows.cache import Cache
from service.flows.heatmaps import Picture, Pictures
from service.flows.thread_pools import PoolName
from service.flows.work_kinds import WORK_KINDS, WorkKind

ALL_EPOCHS = 1_000_000
"""For `Work.maps`: more than any interactive computation makes."""


@dataclass(frozen=True)
class Content:
    """A whole answer, to be sent at once or kept as a job's result."""

    body: bytes
    media_type: str
    headers: Mapping[str, str]

    def response(self, request: Request) -> Response:
        """The answer to the request; 304 where it names the etag."""
        headers = dict(self.headers)
        etag = headers.get("ETag")
        if etag is not None and has_etag(request, etag.strip('"')):
            return Response(status_code=304, headers=headers)
        return Response(self.body, media_type=self.media_type, headers=headers)


@dataclass(frozen=True)
class Description:
    """An answer described, which computes nothing."""

    media_type: str
    make: Callable[[], bytes]
    """The body. Raises NotRecorded where it may not compute and has to."""
    etag: str | None = None
    """Stands for all that is in the answer; None where it is made of the body."""
    cached: Callable[[], bytes | None] = lambda: None
    fixed: Mapping[str, str] = field(default_factory=dict)  # headers, of a 304 too
    headers: Callable[[], Mapping[str, str]] = dict  # more of them; called after `make`
    maps: int = 1  # that it is made of

    def content(self) -> Content:
        """The whole answer, computed where it has to be."""
        body = self.cached()
        return self.with_body(self.make() if body is None else body)

    def with_body(self, body: bytes) -> Content:
        """The whole answer, of that body."""
        return Content(body, self.media_type, {**self._head, **self.headers()})

    def without_body(self) -> Content:
        """For a client that has it."""
        return Content(b"", self.media_type, self._head)

    @property
    def _head(self) -> dict[str, str]:
        tag = {"ETag": f'"{self.etag}"', "Cache-Control": REVALIDATE} if self.etag else {}
        return {**tag, "X-Content-Type-Options": "nosniff", **self.fixed}


def cached_in(cache: Cache[bytes], key: Hashable, described: Description) -> Description:
    """The description with its body kept in a cache."""
    return replace(
        described,
        make=lambda: cache.get_or_make(key, described.make),
        cached=lambda: cache.peek(key),
    )


def described_picture(
    pictures: Pictures,
    picture: Picture,
    media_type: str,
    *,
    headers: Callable[[], Mapping[str, str]] = dict,
    maps: int = 1,
) -> Description:
    """A picture that `pictures` keeps, once it is drawn."""
    return Description(
        media_type,
        picture.draw,
        picture.etag,
        cached=lambda: pictures.cache.peek(picture.etag),
        headers=headers,
        maps=maps,
    )


@dataclass(frozen=True)
class Work:
    """A piece of expensive work that a client asks for."""

    kind_name: str
    describe: Callable[[], Description]
    label: str = ""  # of metrics
    methods: Sequence[str] = ()  # explanations' texts
    maps: int = 1  # that describing it may compute

    @property
    def kind(self) -> WorkKind:
        """Its line of the table."""
        return WORK_KINDS[self.kind_name]

    def lane(self, described: Description | None) -> PoolName:
        """Where it is computed; None is described first, in the same lane."""
        return self.kind.pool_for(self.methods, described.maps if described else self.maps)

    def content(self) -> Content:
        """The answer, described and computed in this thread."""
        while True:
            try:
                return self.describe().content()
            except CheckpointCorrupt as error:
                if not self.may_go_on(error):
                    raise

    def may_go_on(self, error: CheckpointCorrupt) -> bool:
        """Whether to describe it again: a damaged epoch is set aside now, and left out then."""
        return self.kind.covers_many_epochs and error.newly_detected
