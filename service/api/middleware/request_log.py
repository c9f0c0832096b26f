"""One line a request, and an identity that every line and answer of it has.

A line names the route, never the path, query, body or header that a client sent: it has no secret.
"""

import re
import time
import uuid
from dataclasses import dataclass

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import InternalError, problem_response
from service.api.request_context import start_request_context
from service.api.route_table import RouteTable

PLAIN = re.compile(r"[A-Za-z0-9._-]{1,40}")  # a UUID fits; a token of ours does not
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

log = structlog.get_logger()


@dataclass(frozen=True)
class RequestLogMiddleware:
    """Sees every answer, an unforeseen error's as well."""

    app: ASGIApp
    routes: RouteTable
    is_logging: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, then write the line."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        asked = start_request_context(scope, request_id, self.routes.template_of(scope["path"]))
        started, status = time.perf_counter(), 0

        async def numbered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, numbered)
            except Exception:
                # Answered here, where the headers are put on; raised for the server's log.
                if not status:
                    await problem_response(scope, InternalError())(scope, receive, numbered)
                raise
            finally:
                if self.is_logging:
                    log.info(
                        "request",
                        method=scope["method"] if scope["method"] in METHODS else "other",
                        route=asked.route_template,
                        status=status,
                        ms=round((time.perf_counter() - started) * 1000, 1),
                        who=asked.principal.name if asked.principal else None,
                    )


def _request_id(headers: Headers) -> str:
    """The client's own, if it is short and plain; else a new one."""
    given = headers.get("x-request-id", "")
    return given if PLAIN.fullmatch(given) else uuid.uuid4().hex
