"""Who asks, whether they may, and how often. Before a body is read, and before a route is."""

import asyncio
import re
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.middleware.rate_limits import RateLimit
from service.api.problems import problem_response
from service.api.request_context import RequestContext, client_address, request_context
from service.api.route_table import RouteTable
from service.api.scopes import PUBLIC, SAFE_METHODS
from service.errors import (
    CamreelError,
    CsrfRefused,
    RateLimited,
    ScopeMissing,
    SecretInAddress,
    StoreUnavailable,
    Unauthenticated,
)
from service.flows.access import LOCAL_USER, Principal, is_loopback
from service.flows.credential_cache import CredentialCache, CredentialKind
from service.flows.credentials import TOKEN, constant_time_equal
from service.store.tokens import READ

SESSION_COOKIE = "camreel_session"
CSRF_HEADER = "x-csrf-token"
SIGN_IN_ROUTE = ("POST", "/session")
STREAM_ROUTES = {"/events", "/runs/{run_id}/events"}
LOOKUP_THREADS = 8
"""Threads that look credentials up: not those that endpoints wait in for the database."""

RECHECK_SECONDS = 2.0
"""How often a stream's credential is looked at again."""

SECRET_NAMES = re.compile(r"(?:^|&)(?:access_token|api_key|token)=")

Result = TypeVar("Result")


class SharedQueries:
    """Queries in threads; requests that need the same one at the same time share it."""

    def __init__(self) -> None:
        self._threads = CapacityLimiter(LOOKUP_THREADS)
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}

    async def run(self, key: Hashable, query: Callable[[], Result]) -> Result:
        """What the query returns, or raises."""
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.create_task(to_thread.run_sync(query, limiter=self._threads))
            self._tasks[key] = task
            task.add_done_callback(lambda _: self._tasks.pop(key))
        result: Result = await asyncio.shield(task)  # one request that ends leaves it to the others
        return result


@dataclass(frozen=True)
class AccessControlMiddleware:
    """Lets by who may; `asked(scope).who` is who it is."""

    app: ASGIApp
    request_limit: RateLimit
    sign_in_limit: RateLimit
    routes: RouteTable
    _lookups: SharedQueries = field(default_factory=SharedQueries, repr=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        known = request_context(scope)
        told: dict[str, str] = {}

        async def limited(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(told)
            await send(message)

        try:
            await self._admit(scope, known, told)
        except CamreelError as refusal:
            await problem_response(scope, refusal)(scope, receive, limited)
            return
        if known.route_template in STREAM_ROUTES and known.principal is not LOCAL_USER:
            await self._while_admitted(scope, receive, limited)
        else:
            await self.app(scope, receive, limited)

    async def _while_admitted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for as long as the credential is good: a stream may outlive it."""
        gate: CredentialCache = scope["app"].state.services.credentials
        headers = Headers(scope=scope)

        async def answer() -> None:
            await self.app(scope, receive, send)

        answering = asyncio.create_task(answer())
        try:
            while not (await asyncio.wait([answering], timeout=RECHECK_SECONDS))[0]:
                with suppress(StoreUnavailable):  # asked again
                    await self._principal(gate, headers)
        except Unauthenticated:
            answering.cancel()
            with suppress(asyncio.CancelledError):
                await answering
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        except BaseException:
            answering.cancel()
            raise
        await answering

    async def _admit(self, scope: Scope, known: RequestContext, told: dict[str, str]) -> None:
        """Find who asks and count the request, in headers of the answer. Raises refusals."""
        query = scope["query_string"].decode("latin-1")
        if SECRET_NAMES.search(query) or TOKEN.search(unquote(query)):
            raise SecretInAddress
        needed = self.routes.scope_of(scope["method"], known.route_template)
        sign_in = (scope["method"], known.route_template) == SIGN_IN_ROUTE
        if needed is PUBLIC and not sign_in:
            return
        gate: CredentialCache = scope["app"].state.services.credentials
        if await self._unclaimed(gate, scope):
            known.principal = LOCAL_USER
            return
        if sign_in or needed is PUBLIC:
            _count(self.sign_in_limit, client_address(scope), told)
            return
        headers = Headers(scope=scope)
        try:
            known.principal = who = await self._principal(gate, headers)
        except Unauthenticated:
            _count(self.request_limit, client_address(scope), told)
            raise
        _count(self.request_limit, who.rate_limit_key, told)
        if scope["method"] not in SAFE_METHODS and who.csrf_token is not None:
            _check_csrf(who.csrf_token, headers)
        if not who.has_scope(needed):
            raise ScopeMissing(who.scope, needed)

    async def _unclaimed(self, gate: CredentialCache, scope: Scope) -> bool:
        remembered = _remembered_unclaimed(gate, scope)
        if remembered is not None:
            return remembered
        return await self._lookups.run("unclaimed", gate.check_unclaimed)

    async def _principal(self, gate: CredentialCache, headers: Headers) -> Principal:
        """Whom the header's token, or else the cookie, stands for. Raises Unauthenticated."""
        kind, secret = _credential(headers)
        remembered = gate.cached_principal(kind, secret)
        if remembered is not None:
            return remembered
        return await self._lookups.run((kind, secret), lambda: gate.find_principal(kind, secret))


def _credential(headers: Headers) -> tuple[CredentialKind, str]:
    shown = headers.getlist("authorization")
    if shown:
        scheme, _, token = shown[0].partition(" ")
        if len(shown) > 1 or scheme.lower() != "bearer" or not token:
            raise Unauthenticated
        return CredentialKind.TOKEN, token.strip()
    secret = session_cookie(headers)
    if not secret:
        raise Unauthenticated
    return CredentialKind.COOKIE, secret


def _remembered_unclaimed(gate: CredentialCache, scope: Scope) -> bool | None:
    # However the process was started: what answers on another address is never open.
    if not is_loopback((scope.get("server") or ("127.0.0.1",))[0]):
        return False
    return gate.cached_unclaimed()


def may_read(gate: CredentialCache, scope: Scope) -> bool:
    """Whether a browser that asks for a public page would be answered what needs `read`.

    Looks it up, and is for threads. Raises StoreUnavailable.
    """
    unclaimed = _remembered_unclaimed(gate, scope)
    if unclaimed is None:
        unclaimed = gate.check_unclaimed()
    secret = session_cookie(Headers(scope=scope))
    if unclaimed or not secret:
        return unclaimed
    try:
        who = gate.cached_principal(CredentialKind.COOKIE, secret) or gate.find_principal(
            CredentialKind.COOKIE, secret
        )
    except Unauthenticated:
        return False
    return who.has_scope(READ)


def session_cookie(headers: Headers) -> str | None:
    """The cookie by which a browser is signed in."""
    return cookie_parser(headers.get("cookie", "")).get(SESSION_COOKIE)


def _check_csrf(expected: str, headers: Headers) -> None:
    if not constant_time_equal(headers.get(CSRF_HEADER, ""), expected):
        raise CsrfRefused


def _count(limit: RateLimit, key: str, told: dict[str, str]) -> None:
    try:
        told.update(limit.count(key))
    except RateLimited:
        told.update(limit.headers(key))
        raise
