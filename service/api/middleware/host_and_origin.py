"""Checks of the Host, Origin and Sec-Fetch-Site headers.

A page whose own name resolves to this machine (DNS rebinding) sends a foreign Host. A page of
another origin that attempts a change sends a foreign Origin. A page that embeds our resources, for
example by `<img>`, sends `Sec-Fetch-Site: cross-site`.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.types import Scope

from service.api.errors import CrossSiteRefused, HostRefused, OriginRefused
from service.api.scopes import SAFE_METHODS
from service.authority import Origin, host_pattern, parse_authority, parse_origin
from service.errors import CamreelError

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
WILDCARD_ADDRESSES = frozenset({"0.0.0.0", "::"})  # noqa: S104  no client sends them as Host
HOST_CACHE_SIZE = 64
HEALTH_PATHS = frozenset({"/healthz", "/readyz"})
"""Orchestrators request these by a container's address."""

TRUSTED_FETCH_SITES = frozenset({"same-origin", "none"})
"""Sec-Fetch-Site of our own page, and of an address typed by the user.

`same-site` is missing on purpose: all ports of localhost are one site.
"""


def allowed_host_names(bind: str, extra_names: Iterable[str]) -> frozenset[str]:
    """Host names that are accepted, in lower case; `*.example.org` matches every subdomain."""
    names = {*LOCAL_NAMES, *extra_names}
    with suppress(ValueError):  # not a host name, so binding fails as well
        names.add(host_pattern(bind))
    return frozenset(names) - WILDCARD_ADDRESSES


@dataclass(frozen=True)
class HostAndOriginCheck:
    """Rejects foreign hosts and cross-site requests, except health checks and navigation."""

    host_names: frozenset[str]
    origins: frozenset[str]  # other origins that may use the API (CORS)

    def find_error(self, scope: Scope, headers: Headers) -> CamreelError | None:
        """The error of a request that is not admitted; None for one that is."""
        if scope["path"] not in HEALTH_PATHS:
            hosts = headers.getlist("host")
            if len(hosts) != 1 or not _is_own_host(hosts[0], self.host_names):
                return HostRefused()
            if self._is_cross_site(scope["method"], headers):
                return CrossSiteRefused() if scope["method"] in SAFE_METHODS else OriginRefused()
        if scope["method"] not in SAFE_METHODS and self._has_foreign_origin(headers):
            return OriginRefused()
        return None

    def _is_cross_site(self, method: str, headers: Headers) -> bool:
        """Whether a page of another origin caused this request, other than by navigation."""
        sites = headers.getlist("sec-fetch-site")
        if all(site in TRUSTED_FETCH_SITES for site in sites):  # also if the header is missing
            return False
        if headers.getlist("origin") and self._has_allowed_origin(headers):
            return False
        return not _is_navigation(method, headers)

    def _has_allowed_origin(self, headers: Headers) -> bool:
        origins = headers.getlist("origin")
        return len(origins) == 1 and origins[0] in self.origins

    def _has_foreign_origin(self, headers: Headers) -> bool:
        origins = headers.getlist("origin")
        if not origins or self._has_allowed_origin(headers):
            return False
        try:
            (value,) = origins
            origin = parse_origin(value)
            target = _target_origin(headers, origin.scheme)
        except ValueError:
            return True
        return (origin.host, origin.port) != (target.host, target.port)


@lru_cache(HOST_CACHE_SIZE)
def _is_own_host(field: str, host_names: frozenset[str]) -> bool:
    try:
        name = parse_authority(field).host
    except ValueError:
        return False
    parents = (name.split(".", depth)[-1] for depth in range(1, name.count(".") + 1))
    return name in host_names or any(f"*.{parent}" in host_names for parent in parents)


def _is_navigation(method: str, headers: Headers) -> bool:
    """Whether the browser navigates to the address in a tab, by a link or the address bar.

    A prefetch, which a foreign page can trigger, carries a purpose header and does not count.
    """
    return (
        method in ("GET", "HEAD")
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
        and not {"sec-purpose", "purpose"} & set(headers.keys())
    )


def _target_origin(headers: Headers, scheme: str) -> Origin:
    """The origin of the Host header with the given scheme.

    The scheme is the page's: behind a proxy ours is not always known, and only host and port are
    compared.
    """
    return parse_origin(f"{scheme}://{headers.get('host', '')}")
