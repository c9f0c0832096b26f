"""The middleware stack: what it contains, and in which order."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from service.api.caching import ContentETagMiddleware
from service.api.middleware.access_control import AccessControlMiddleware
from service.api.middleware.audit_trail import AuditTrailMiddleware
from service.api.middleware.body_limits import BodyLimitMiddleware
from service.api.middleware.client_disconnect import ClientDisconnectMiddleware
from service.api.middleware.host_and_origin import HostAndOriginCheck, allowed_host_names
from service.api.middleware.http_methods import HttpMethodsMiddleware
from service.api.middleware.range_requests import RangeMiddleware
from service.api.middleware.rate_limits import RateLimit
from service.api.middleware.requests import RequestMiddleware
from service.api.middleware.root_path import RootPathMiddleware, check_prefix
from service.api.prepared_answers import PreparedAnswersMiddleware
from service.api.route_table import RouteTable
from service.api.sharing import Sharing
from service.core.network_descriptions import MAX_PROGRAM_BYTES
from service.flows.tensor_uploads import MAX_TENSOR_BYTES
from service.settings import Settings

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
CORS_RESPONSE_HEADERS = [
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


MAX_BODY_BYTES = 1 * 2**20
"""Limit of request bodies, except those of routes that have their own."""

MAX_MANIFEST_BYTES = 8 * 2**20
"""Limit of an epoch of a recorded run: 20,000 tensors with long names."""


def install(app: FastAPI, routes: RouteTable, settings: Settings, sharing: Sharing) -> None:
    """Add all middleware, innermost first."""
    _install_response_middleware(app, routes, settings)
    app.add_middleware(PreparedAnswersMiddleware)
    app.add_middleware(
        AccessControlMiddleware,
        request_limit=RateLimit("requests", settings.rate_limit, sharing),
        sign_in_limit=RateLimit("sign-ins", settings.sign_in_limit, sharing),
        routes=routes,
    )
    app.add_middleware(AuditTrailMiddleware)
    if settings.cors_origins:
        # No credentials: another origin's page sends a token; the cookie is for our page alone.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=CORS_REQUEST_HEADERS,
            expose_headers=CORS_RESPONSE_HEADERS,
        )
    app.add_middleware(
        RequestMiddleware,
        routes=routes,
        origin_check=HostAndOriginCheck(
            allowed_host_names(settings.host, settings.allowed_hosts),
            frozenset(settings.cors_origins),
        ),
        is_logging=settings.log_requests,
    )
    if settings.root_path:
        check_prefix(settings.root_path, routes)
        app.add_middleware(RootPathMiddleware, prefix=settings.root_path)


def _install_response_middleware(app: FastAPI, routes: RouteTable, settings: Settings) -> None:
    """Body limits, ETags, disconnects, ranges, and HEAD and OPTIONS."""
    app.add_middleware(
        BodyLimitMiddleware,
        default_bytes=MAX_BODY_BYTES,
        bytes_by_route={
            ("POST", "/images"): settings.max_upload_bytes,
            ("POST", "/datasets"): settings.max_dataset_bytes,
            ("PUT", "/runs/{run_id}/probes/{position}"): settings.max_upload_bytes,
            ("POST", "/networks"): MAX_PROGRAM_BYTES,
            ("PUT", "/runs/{run_id}/epochs/{epoch}"): MAX_MANIFEST_BYTES,
            ("PUT", "/tensors/{sha256}"): MAX_TENSOR_BYTES,
        },
    )
    app.add_middleware(ContentETagMiddleware)
    app.add_middleware(ClientDisconnectMiddleware)
    app.add_middleware(RangeMiddleware)
    app.add_middleware(HttpMethodsMiddleware, routes=routes)
