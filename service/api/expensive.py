"""Expensive answers: computed in a lane's threads, while no thread waits for them."""

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Request, Response

from service.api.caching import has_etag
from service.api.concurrency import run_in_pool
from service.api.middleware.client_disconnect import disconnect_signal
from service.api.request_context import request_context
from service.api.resources.jobs import JobResponse, accepted_response
from service.api.services import ApiServices, Services
from service.api.work import Content, Description, Work
from service.errors import CheckpointCorrupt
from service.flows.computing import NotRecorded, reading_only
from service.flows.thread_pools import PoolName
from service.store.jobs import JobResult

T = TypeVar("T")

RESPONSES: dict[int | str, dict[str, Any]] = {
    202: {
        "model": JobResponse,
        "description": "A job, of a request with `Prefer: respond-async`.",
        "headers": {
            "Location": {"schema": {"type": "string"}},
            "Preference-Applied": {"schema": {"type": "string"}},
        },
    },
    304: {"description": "The client has it already."},
    503: {"description": "Too many requests wait for such work; `Retry-After` says how long."},
}
"""Of every route whose answer is expensive, besides the answer itself."""

Prefer = Annotated[
    str | None,
    Header(
        max_length=200,
        description="`respond-async`: answer 202 with a job whose result is this answer (RFC 7240)",
    ),
]


@dataclass(frozen=True)
class Responder:
    """Answers a request for expensive work."""

    services: ApiServices
    request: Request
    respond_async: bool

    async def __call__(self, work: Work) -> Response:
        """304 where the client has it; a job where it prefers one; else the answer.

        What is cached or recorded waits for no computation. Raises PoolFull, RequestCancelled,
        and what describing and computing it raise.
        """
        while True:
            try:
                return await self._respond(work)
            except CheckpointCorrupt as error:
                if not work.may_go_on(error):
                    raise

    async def read(self, function: Callable[[], T]) -> T:
        """What the function returns, called in a thread of the reading lane."""
        lane = self.services.thread_pools[PoolName.READING]
        return await run_in_pool(lane, function, disconnect=disconnect_signal(self.request.scope))

    async def _respond(self, work: Work) -> Response:
        first = await self.read(lambda: self._attempt(work))
        if isinstance(first, Content):
            return first.response(self.request)
        if self.respond_async:
            return await self._job(work)
        known = self.request.headers.get("if-none-match")
        key = first.etag if first is not None and first.etag else (*self._address, known)
        content = await run_in_pool(
            self.services.thread_pools[work.lane(first)],
            lambda: self._timed(work, lambda: self._content(work, first)),
            key=(work.kind.name, key),
            disconnect=disconnect_signal(self.request.scope),
        )
        return content.response(self.request)

    def _content(self, work: Work, described: Description | None) -> Content:
        described = described or work.describe()
        if described.etag is not None and has_etag(self.request, described.etag):
            return described.without_body()
        return described.content()

    def _attempt(self, work: Work) -> Content | Description | None:
        """The answer without computing; else its description, or None if that is to be computed."""
        with reading_only():
            try:
                described = work.describe()
            except NotRecorded:
                return None
            if described.etag is not None and has_etag(self.request, described.etag):
                return described.without_body()  # `response` makes it 304
            if self.respond_async:
                return described
            with suppress(NotRecorded):
                if (body := described.cached()) is not None:
                    return described.with_body(body)
                if work.kind.fits_reading_pool(described.maps):
                    return self._timed(work, described.content)
            return described

    def _timed(self, work: Work, make: Callable[[], Content]) -> Content:
        """The content, its time observed; not where it turns out that it has to be computed."""
        started = time.perf_counter()
        observe = self.services.metrics.response_duration_seconds.labels(
            work.kind.name, work.label
        ).observe
        try:
            content = make()
        except NotRecorded:
            raise
        except BaseException:
            observe(time.perf_counter() - started)
            raise
        observe(time.perf_counter() - started)
        return content

    async def _job(self, work: Work) -> Response:
        who = request_context(self.request.scope).principal
        owner = who.rate_limit_key if who else ""
        identity = hashlib.sha256(repr((owner, *self._address)).encode()).hexdigest()
        href, jobs = self._href, self.services.jobs

        def compute() -> JobResult:
            content = work.content()
            return JobResult(content.body, content.media_type, content.headers)

        job = await run_in_pool(
            self.services.thread_pools[PoolName.WRITING],
            lambda: jobs.start(work.kind.name, identity, owner, href, compute),
        )
        return accepted_response(job)

    @property
    def _href(self) -> str:
        url = self.request.url
        return f"{url.path}?{url.query}" if url.query else url.path

    @property
    def _address(self) -> tuple[str, ...]:
        """What tells the request from others: several representations have one address."""
        url, headers = self.request.url, self.request.headers
        query = "&".join(sorted(url.query.split("&")))
        return (url.path, query, headers.get("accept", ""), headers.get("accept-encoding", ""))


async def _responder(services: Services, request: Request, prefer: Prefer = None) -> Responder:
    preferences = [part.partition(";")[0].strip().lower() for part in (prefer or "").split(",")]
    return Responder(services, request, "respond-async" in preferences)


Respond = Annotated[Responder, Depends(_responder)]
