"""One log line per request, and a request ID for log lines and responses.

A line holds the route template, but no path, query, body or header: those may contain secrets.
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

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,40}")  # long enough for a UUID, too short for a token
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

log = structlog.get_logger()


@dataclass(frozen=True)
class RequestLogMiddleware:
    """Starts the request context; sets X-Request-ID, also on responses to unexpected errors."""

    app: ASGIApp
    routes: RouteTable
    is_logging: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, then write the log line."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        context = start_request_context(scope, request_id, self.routes.template_of(scope["path"]))
        start_time, status = time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, send_with_id)
            except Exception:
                # Respond here, below the header middleware; raise again for the server's log.
                if not status:
                    await problem_response(scope, InternalError())(scope, receive, send_with_id)
                raise
            finally:
                if self.is_logging:
                    log.info(
                        "request",
                        method=scope["method"] if scope["method"] in METHODS else "other",
                        route=context.route_template,
                        status=status,
                        duration_ms=round((time.perf_counter() - start_time) * 1000, 1),
                        principal=context.principal.name if context.principal else None,
                    )


def _request_id(headers: Headers) -> str:
    """The client's X-Request-ID if it is short and plain, otherwise a new one."""
    client_id = headers.get("x-request-id", "")
    return client_id if REQUEST_ID.fullmatch(client_id) else uuid.uuid4().hex
