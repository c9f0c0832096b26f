"""What every request meets first: its ID, the check of its origin, its log line, security headers.

One middleware, because each further one costs the answer to a cached request a tenth of its time.
A log line holds the route template, but no path, query, body or header: those may contain secrets.
"""

import os
import re
import time
from dataclasses import dataclass

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import logs
from service.api.middleware.host_and_origin import HostAndOriginCheck
from service.api.middleware.security_headers import add_security_headers
from service.api.problems import InternalError, problem_response
from service.api.request_context import start_request_context
from service.api.route_table import RouteTable

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,40}")  # long enough for a UUID, too short for a token
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


@dataclass(frozen=True)
class RequestMiddleware:
    """Starts the request context; sets X-Request-ID, also on responses to unexpected errors."""

    app: ASGIApp
    routes: RouteTable
    origin_check: HostAndOriginCheck
    is_logging: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application unless the origin is foreign, then write the log line."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers)
        context = start_request_context(scope, request_id, self.routes.template_of(scope["path"]))
        start_time, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                response_headers = message["headers"] = list(message["headers"])
                response_headers.append((b"x-request-id", request_id.encode()))
                add_security_headers(response_headers, scope)
            await send(message)

        tokens = structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            error = self.origin_check.find_error(scope, headers)
            if error is None:
                await self.app(scope, receive, send_with_headers)
            else:
                await problem_response(scope, error)(scope, receive, send_with_headers)
        except Exception:
            # Respond here, where the headers are added; raise again for the server's log.
            if not status:
                await problem_response(scope, InternalError())(scope, receive, send_with_headers)
            raise
        finally:
            structlog.contextvars.reset_contextvars(**tokens)
            if self.is_logging:
                logs.write_info(
                    "request",
                    method=scope["method"] if scope["method"] in METHODS else "other",
                    route=context.route_template,
                    status=status,
                    duration_ms=round((time.perf_counter() - start_time) * 1000, 1),
                    principal=context.principal.name if context.principal else None,
                    request_id=request_id,
                )


def _request_id(headers: Headers) -> str:
    """The client's X-Request-ID if it is short and plain, otherwise a new one."""
    client_id = headers.get("x-request-id", "")
    return client_id if REQUEST_ID.fullmatch(client_id) else os.urandom(16).hex()
