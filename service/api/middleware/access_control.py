"""Authentication, authorization and rate limits, before a request's body is read."""

import asyncio
import re
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from urllib.parse import unquote

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.errors import CsrfRefused, SecretInAddress
from service.api.middleware.rate_limits import RateLimit
from service.api.problems import problem_response
from service.api.request_context import RequestContext, client_address, request_context
from service.api.route_table import RouteTable
from service.api.scopes import PUBLIC, SAFE_METHODS
from service.errors import CamreelError, ScopeMissing, Unauthenticated
from service.flows.access import LOCAL_USER, Principal, is_loopback
from service.flows.credential_cache import CredentialCache, CredentialKind
from service.flows.credentials import TOKEN, constant_time_equal
from service.store.tokens import READ
from service.store_errors import StoreUnavailable

SESSION_COOKIE = "camreel_session"
CSRF_HEADER = "x-csrf-token"
SIGN_IN_ROUTE = ("POST", "/session")
STREAM_ROUTES = {"/events", "/runs/{run_id}/events"}
LOOKUP_THREADS = 8
"""Separate from the threads of endpoints, which may all wait for the database."""

RECHECK_SECONDS = 2.0
"""Interval at which the credential of an open stream is checked again."""

SECRET_PARAMETERS = re.compile(r"(?:^|&)(?:access_token|api_key|token)=")

Result = TypeVar("Result")


class SharedQueries:
    """Runs queries in threads; concurrent requests share a query of the same key."""

    def __init__(self) -> None:
        self._threads = CapacityLimiter(LOOKUP_THREADS)
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}

    async def run(self, key: Hashable, query: Callable[[], Result]) -> Result:
        """Return the query's result, or raise its exception."""
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.create_task(to_thread.run_sync(query, limiter=self._threads))
            self._tasks[key] = task
            task.add_done_callback(lambda _: self._tasks.pop(key))
        # Shielded: a cancelled request must not cancel the query of the others.
        result: Result = await asyncio.shield(task)
        return result


@dataclass(frozen=True)
class AccessControlMiddleware:
    """Sets the principal of each request in its context, or rejects the request."""

    app: ASGIApp
    request_limit: RateLimit
    sign_in_limit: RateLimit
    routes: RouteTable
    _lookups: SharedQueries = field(default_factory=SharedQueries, repr=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application if the principal has the route's scope."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        context = request_context(scope)
        limit_headers: dict[str, str] = {}

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(limit_headers)
            await send(message)

        try:
            await self._authorize(scope, context, limit_headers)
        except CamreelError as error:
            await problem_response(scope, error)(scope, receive, send_with_limits)
            return
        if context.route_template in STREAM_ROUTES and context.principal is not LOCAL_USER:
            await self._call_while_authenticated(scope, receive, send_with_limits)
        else:
            await self.app(scope, receive, send_with_limits)

    async def _call_while_authenticated(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application; end the response when the credential expires or is revoked."""
        credentials: CredentialCache = scope["app"].state.services.credentials
        headers = Headers(scope=scope)

        async def call() -> None:
            await self.app(scope, receive, send)

        calling = asyncio.create_task(call())
        try:
            while not (await asyncio.wait([calling], timeout=RECHECK_SECONDS))[0]:
                with suppress(StoreUnavailable):  # checked again at the next interval
                    await self._authenticate(credentials, headers)
        except Unauthenticated:
            calling.cancel()
            with suppress(asyncio.CancelledError):
                await calling
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        except BaseException:
            calling.cancel()
            raise
        await calling

    async def _authorize(
        self, scope: Scope, context: RequestContext, limit_headers: dict[str, str]
    ) -> None:
        """Set the request's principal and count the request; fill in the rate limit headers.

        Raises SecretInAddress, Unauthenticated, RateLimited, CsrfRefused, ScopeMissing and
        StoreUnavailable.
        """
        query = scope["query_string"].decode("latin-1")
        if SECRET_PARAMETERS.search(query) or TOKEN.search(unquote(query)):
            raise SecretInAddress
        required_scope = self.routes.scope_of(scope["method"], context.route_template)
        is_sign_in = (scope["method"], context.route_template) == SIGN_IN_ROUTE
        if required_scope is PUBLIC and not is_sign_in:
            return
        credentials: CredentialCache = scope["app"].state.services.credentials
        if await self._is_unclaimed(credentials, scope):
            context.principal = LOCAL_USER
            return
        if is_sign_in or required_scope is PUBLIC:
            self.sign_in_limit.count(client_address(scope), limit_headers)
            return
        headers = Headers(scope=scope)
        try:
            context.principal = principal = await self._authenticate(credentials, headers)
        except Unauthenticated:
            self.request_limit.count(client_address(scope), limit_headers)
            raise
        self.request_limit.count(principal.rate_limit_key, limit_headers)
        if scope["method"] not in SAFE_METHODS and principal.sign_in_proof is not None:
            _check_csrf(principal.sign_in_proof, headers)
        if not principal.has_scope(required_scope):
            raise ScopeMissing(principal.scope, required_scope)

    async def _is_unclaimed(self, credentials: CredentialCache, scope: Scope) -> bool:
        cached = _cached_unclaimed(credentials, scope)
        if cached is not None:
            return cached
        return await self._lookups.run("unclaimed", credentials.check_open_access)

    async def _authenticate(self, credentials: CredentialCache, headers: Headers) -> Principal:
        """The principal of the bearer token, or else of the cookie. Raises Unauthenticated."""
        kind, secret = _credential(headers)
        cached = credentials.cached_principal(kind, secret)
        if cached is not None:
            return cached
        query = partial(credentials.find_principal, kind, secret)
        return await self._lookups.run((kind, secret), query)


def _credential(headers: Headers) -> tuple[CredentialKind, str]:
    authorization = headers.getlist("authorization")
    if authorization:
        scheme, _, token = authorization[0].partition(" ")
        if len(authorization) > 1 or scheme.lower() != "bearer" or not token:
            raise Unauthenticated
        return CredentialKind.TOKEN, token.strip()
    secret = session_cookie(headers)
    if not secret:
        raise Unauthenticated
    return CredentialKind.SIGN_IN, secret


def _cached_unclaimed(credentials: CredentialCache, scope: Scope) -> bool | None:
    # Whatever address the process was told to bind: one that others can reach is never open.
    if not is_loopback((scope.get("server") or ("127.0.0.1",))[0]):
        return False
    return credentials.cached_open_access()


def may_read(credentials: CredentialCache, scope: Scope) -> bool:
    """Whether the client of a public page could also read routes of scope `read`.

    Queries the database: call it in a thread. Raises StoreUnavailable.
    """
    is_unclaimed = _cached_unclaimed(credentials, scope)
    if is_unclaimed is None:
        is_unclaimed = credentials.check_open_access()
    secret = session_cookie(Headers(scope=scope))
    if is_unclaimed or not secret:
        return is_unclaimed
    cookie = CredentialKind.SIGN_IN
    try:
        principal = credentials.cached_principal(cookie, secret)
        principal = principal or credentials.find_principal(cookie, secret)
    except Unauthenticated:
        return False
    return principal.has_scope(READ)


def session_cookie(headers: Headers) -> str | None:
    """The value of the session cookie; None without one."""
    return cookie_parser(headers.get("cookie", "")).get(SESSION_COOKIE)


def _check_csrf(csrf_token: str, headers: Headers) -> None:
    if not constant_time_equal(headers.get(CSRF_HEADER, ""), csrf_token):
        raise CsrfRefused
