"""Expensive answers, computed in thread pools while no other thread waits for them."""

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
from service.api.work import Content, ExpensiveRequest, Representation
from service.flows.compute_permission import ComputationNotPermitted, read_only
from service.flows.thread_pools import PoolName
from service.store.jobs import JobResult

T = TypeVar("T")

RESPONSES: dict[int | str, dict[str, Any]] = {
    202: {
        "model": JobResponse,
        "description": "A job that computes the answer, for `Prefer: respond-async`.",
        "headers": {
            "Location": {"schema": {"type": "string"}},
            "Preference-Applied": {"schema": {"type": "string"}},
        },
    },
    304: {"description": "The client has the current answer."},
    503: {"description": "Too many requests of this kind are queued; see `Retry-After`."},
}
"""Responses of every route whose answer is expensive, besides the answer itself."""

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

    async def __call__(self, work: ExpensiveRequest) -> Response:
        """304 if the client has the answer, a job if it prefers one, else the answer.

        An answer that is cached or recorded waits for no computation, and a single map by a cheap
        method is computed where it was resolved while its pool is idle. Raises PoolFull,
        RequestCancelled, and the errors of resolving and computing it.
        """
        prepared = self.services.prepared_answers
        version = prepared.read_version()  # before anything is read that the answer depends on
        attempt = await self.read(lambda: self._answer_at_once(work))
        if isinstance(attempt, Content):
            prepared.put(self.request.scope, version, attempt)
            return attempt.response(self.request)
        if self.respond_async:
            return await self._start_job(work)
        known_etags = self.request.headers.get("if-none-match")
        key = attempt.etag if attempt is not None else (*self._address, known_etags)
        content = await run_in_pool(
            self.services.thread_pools[work.pool(attempt)],
            lambda: self._timed(work, lambda: self._compute(work, attempt)),
            key=(work.kind.name, key),
            disconnect=disconnect_signal(self.request.scope),
        )
        return content.response(self.request)

    async def read(self, function: Callable[[], T]) -> T:
        """The function's result, called in a thread of the reading pool."""
        pool = self.services.thread_pools[PoolName.READING]
        return await run_in_pool(pool, function, disconnect=disconnect_signal(self.request.scope))

    def _answer_at_once(self, work: ExpensiveRequest) -> Content | Representation[Any] | None:
        """The answer if it takes little; else as `_answer_without_computing`."""
        attempt = self._answer_without_computing(work)
        if self.respond_async or not isinstance(attempt, Representation):
            return attempt
        if attempt.deferred.map_count != 1 or work.pool(attempt) != PoolName.INTERACTIVE:
            return attempt
        with self.services.thread_pools[PoolName.INTERACTIVE].borrow_slot() as is_idle:
            return self._timed(work, attempt.content) if is_idle else attempt

    def _compute(
        self, work: ExpensiveRequest, representation: Representation[Any] | None
    ) -> Content:
        representation = representation or work.represent()
        if has_etag(self.request, representation.etag):
            return representation.not_modified()
        return representation.content()

    def _answer_without_computing(
        self, work: ExpensiveRequest
    ) -> Content | Representation[Any] | None:
        """The answer; else its representation, or None if resolving it has to compute."""
        with read_only():
            try:
                representation = work.represent()
            except ComputationNotPermitted:
                return None
            if has_etag(self.request, representation.etag):
                return representation.not_modified()  # `response` makes it a 304
            if self.respond_async:
                return representation
            with suppress(ComputationNotPermitted):
                if (content := representation.peek()) is not None:
                    return content
                if work.kind.fits_reading_pool(representation.deferred.map_count):
                    return self._timed(work, representation.content)
            return representation

    def _timed(self, work: ExpensiveRequest, make: Callable[[], Content]) -> Content:
        """The content; observes the time, unless it turns out that it has to be computed."""
        start = time.perf_counter()
        observe = self.services.metrics.response_duration_seconds.labels(
            work.kind.name, work.metrics_label
        ).observe
        try:
            content = make()
        except ComputationNotPermitted:
            raise
        except BaseException:
            observe(time.perf_counter() - start)
            raise
        observe(time.perf_counter() - start)
        return content

    async def _start_job(self, work: ExpensiveRequest) -> Response:
        principal = request_context(self.request.scope).principal
        owner = principal.rate_limit_key if principal else ""
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
        """Identifies the requested representation: one URL may have several."""
        url, headers = self.request.url, self.request.headers
        query = "&".join(sorted(url.query.split("&")))
        return (url.path, query, headers.get("accept", ""), headers.get("accept-encoding", ""))


def prefers_async(prefer: str | None) -> bool:
    """Whether a `Prefer` header contains `respond-async`."""
    preferences = [part.partition(";")[0].strip().lower() for part in (prefer or "").split(",")]
    return "respond-async" in preferences


async def _responder(services: Services, request: Request, prefer: Prefer = None) -> Responder:
    return Responder(services, request, prefers_async(prefer))


Respond = Annotated[Responder, Depends(_responder)]
