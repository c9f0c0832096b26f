"""What each route asks of a token. A route that stands not here asks for all: scope admin."""

import re
from functools import lru_cache

from starlette.routing import compile_path

from service.store.tokens import ADMIN, READ, RUN

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""

PUBLIC = None
"""No token: health, the page's files, which hold nothing, and where a token is shown."""

SCOPES: dict[tuple[str, str], str | None] = {
    ("GET", "/"): PUBLIC,
    ("GET", "/app"): PUBLIC,
    ("GET", "/app/{path:path}"): PUBLIC,
    ("GET", "/healthz"): PUBLIC,
    ("GET", "/readyz"): PUBLIC,
    ("POST", "/session"): PUBLIC,
    ("GET", "/session"): READ,
    ("DELETE", "/session"): READ,
    ("GET", "/audit"): ADMIN,
    ("GET", "/metrics"): READ,
    ("GET", "/docs"): READ,
    ("GET", "/openapi.json"): READ,
    ("GET", "/static-offline-docs/{path:path}"): READ,
    ("GET", "/architectures"): READ,
    ("GET", "/colormaps"): READ,
    ("GET", "/datasets"): READ,
    ("GET", "/measures"): READ,
    ("GET", "/methods"): READ,
    ("GET", "/optimizers"): READ,
    ("GET", "/targets"): READ,
    ("GET", "/events"): READ,
    ("GET", "/images/{reference}"): READ,
    ("GET", "/jobs"): READ,
    ("GET", "/jobs/{job_id}"): READ,
    ("DELETE", "/jobs/{job_id}"): READ,  # whose job it is is looked at by the route
    ("GET", "/jobs/{job_id}/result"): READ,
    ("POST", "/images"): RUN,
    ("GET", "/runs"): READ,
    ("POST", "/runs"): RUN,
    ("GET", "/runs/{run_id}"): READ,
    ("DELETE", "/runs/{run_id}"): ADMIN,
    ("POST", "/runs/{run_id}/cancel"): RUN,
    ("POST", "/runs/{run_id}/resume"): RUN,
    ("GET", "/runs/{run_id}/atlas"): READ,
    ("GET", "/runs/{run_id}/atlas.json"): READ,
    ("GET", "/runs/{run_id}/atlas.bin"): READ,
    ("GET", "/runs/{run_id}/blanks"): READ,
    ("GET", "/runs/{run_id}/blanks.csv"): READ,
    ("GET", "/runs/{run_id}/epochs"): READ,
    ("GET", "/runs/{run_id}/epochs.csv"): READ,
    ("GET", "/runs/{run_id}/epochs/{epoch}"): READ,
    ("GET", "/runs/{run_id}/epochs/{epoch}/cam"): READ,
    ("GET", "/runs/{run_id}/epochs/{epoch}/cam.json"): READ,
    ("GET", "/runs/{run_id}/epochs/{epoch}/cam.npy"): READ,
    ("GET", "/runs/{run_id}/epochs/{epoch}/checkpoint"): READ,
    ("GET", "/runs/{run_id}/epochs/{epoch}/evaluation"): READ,
    ("GET", "/runs/{run_id}/events"): READ,
    ("GET", "/runs/{run_id}/probes"): READ,
    ("GET", "/runs/{run_id}/probes.png"): READ,
    ("GET", "/runs/{run_id}/report.html"): READ,
    ("GET", "/runs/{run_id}/scores"): READ,
    ("GET", "/runs/{run_id}/sheet"): READ,
    ("GET", "/runs/{run_id}/strip"): READ,
    ("GET", "/runs/{run_id}/strip.gif"): READ,
    ("GET", "/runs/{run_id}/strip.npz"): READ,
    ("GET", "/runs/{run_id}/strip.webp"): READ,
}

_METHODS: dict[str, list[str]] = {
    template: [method for method, other in SCOPES if other == template] for _, template in SCOPES
}
"""Methods of each path's routes."""

_PATTERNS: list[tuple[re.Pattern[str], str]] = [
    # Compiled as the router compiles them, so that both read a path alike.
    (compile_path(template)[0], template)
    for template in _METHODS
]


def scope_of(method: str, template: str | None) -> str | None:
    """The scope that a route asks for; None where it asks for no token.

    HEAD is as GET. OPTIONS of a path that anyone may use is for anyone, of others for readers.
    """
    if method == "OPTIONS" and template in _METHODS:
        public = any(SCOPES[own, template] is PUBLIC for own in _METHODS[template])
        return PUBLIC if public else READ
    route = ("GET" if method == "HEAD" else method, template or "")
    return SCOPES.get(route, ADMIN)


def allowed_methods(template: str | None) -> list[str]:
    """All methods that a path answers, HEAD and OPTIONS included; none for an unknown path."""
    own = _METHODS.get(template or "", [])
    return sorted({*own, "OPTIONS"} | ({"HEAD"} if "GET" in own else set())) if own else []


@lru_cache(maxsize=4096)
def template_of(path: str) -> str | None:
    """The path as its route has it, `/runs/{run_id}`; None for one that no route has."""
    for pattern, template in _PATTERNS:
        if pattern.match(path):
            return template
    return None
