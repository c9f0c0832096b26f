"""What stands before every route, in its order."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from service.api import security_schema
from service.api.middleware.access import Access
from service.api.middleware.audit_trail import AuditTrail
from service.api.middleware.headers import SecurityHeaders
from service.api.middleware.hosts import Hosts, names_of
from service.api.middleware.rate_limits import Limit
from service.api.middleware.request_log import RequestLog
from service.api.middleware.root_path import RootPath, refuse_route
from service.api.route_table import RouteTable

CORS_REQUEST_HEADERS = [
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Prefer",
    "Range",
    "X-Request-ID",
]
CORS_ANSWER_HEADERS = [
    "Accept-Ranges",
    "Content-Range",
    "ETag",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Cam-Blank",
    "X-Cam-Peak",
    "X-Request-ID",
]


@dataclass(frozen=True)
class Protection:
    """What of it is set."""

    bind: str
    allowed_hosts: Sequence[str]
    cors_origins: Sequence[str]
    rate_limit: str
    sign_in_limit: str
    log_requests: bool
    root_path: str


def install(app: FastAPI, routes: RouteTable, set_to: Protection) -> None:
    """Put it before the application's routes."""
    # The one added last is the outermost.
    app.add_middleware(
        Access,
        requests=Limit.of("requests", set_to.rate_limit),
        sign_ins=Limit.of("sign-ins", set_to.sign_in_limit),
        routes=routes,
    )
    app.add_middleware(AuditTrail)
    if set_to.cors_origins:
        # No credentials: another origin's page shows a token, our cookie is our page's alone.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(set_to.cors_origins),
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=CORS_REQUEST_HEADERS,
            expose_headers=CORS_ANSWER_HEADERS,
        )
    app.add_middleware(
        Hosts,
        names=names_of(set_to.bind, set_to.allowed_hosts),
        origins=frozenset(set_to.cors_origins),
    )
    app.add_middleware(RequestLog, routes=routes, logs=set_to.log_requests)
    app.add_middleware(SecurityHeaders)
    if set_to.root_path:
        refuse_route(set_to.root_path, routes)
        app.add_middleware(RootPath, prefix=set_to.root_path)
    security_schema.describe(app, routes)
