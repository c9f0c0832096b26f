"""Under which name a request comes, and from which site's page.

A page that has its own name resolve to this machine (DNS rebinding) sends a foreign Host. A page of
another origin that wants a change says so by Origin; one that only has its visitors' browsers load
something, as by `<img>`, says so by Sec-Fetch-Site.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problems import problem_response
from service.api.scopes import SAFE_METHODS
from service.authority import Origin, host_pattern, parse_authority, parse_origin
from service.errors import CamreelError, CrossSiteRefused, HostRefused, OriginRefused

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104  not a name that anybody asks by
HEALTH = frozenset({"/healthz", "/readyz"})
"""Asked by orchestrators under whatever address a container has."""

OWN_SITES = frozenset({"same-origin", "none"})
"""What Sec-Fetch-Site says of our own page, and of an address that a person typed.

`same-site` is not among them: every port of localhost is one site.
"""


def allowed_host_names(bind: str, allowed: Iterable[str]) -> frozenset[str]:
    """The names that the service answers to, in lower case: `*.example.org` is any below it."""
    names = {*LOCAL_NAMES, *allowed}
    with suppress(ValueError):  # what is no name cannot be bound either
        names.add(host_pattern(bind))
    return frozenset(names) - EVERY_ADDRESS


@dataclass(frozen=True)
class HostAndOriginMiddleware:
    """Refuses a foreign Host and what other sites' pages load, but for health and links to us."""

    app: ASGIApp
    host_names: frozenset[str]
    origins: frozenset[str]  # of pages that may use the API, besides our own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is not None:
            await problem_response(scope, refusal)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> CamreelError | None:
        headers = Headers(scope=scope)
        if scope["path"] not in HEALTH:
            if not self._is_own_host(headers.getlist("host")):
                return HostRefused()
            if self._is_cross_site(scope["method"], headers):
                return CrossSiteRefused() if scope["method"] in SAFE_METHODS else OriginRefused()
        if scope["method"] not in SAFE_METHODS and self._has_foreign_origin(headers):
            return OriginRefused()
        return None

    def _is_own_host(self, fields: list[str]) -> bool:
        try:
            (field,) = fields
            name = parse_authority(field).host
        except ValueError:
            return False
        above = (f"*.{name.split('.', at)[-1]}" for at in range(1, name.count(".") + 1))
        return name in self.host_names or any(pattern in self.host_names for pattern in above)

    def _is_cross_site(self, method: str, headers: Headers) -> bool:
        """Whether another origin's page has a browser send this, and is no more than a link."""
        sites = headers.getlist("sec-fetch-site")
        if all(site in OWN_SITES for site in sites):  # none at all: not a browser of today
            return False
        if headers.getlist("origin") and self._is_granted(headers):
            return False
        return not _is_link(method, headers)

    def _is_granted(self, headers: Headers) -> bool:
        origins = headers.getlist("origin")
        return len(origins) == 1 and origins[0] in self.origins

    def _has_foreign_origin(self, headers: Headers) -> bool:
        origins = headers.getlist("origin")
        if not origins or self._is_granted(headers):
            return False
        try:
            (text,) = origins
            origin = parse_origin(text)
            own = _own_origin(headers, origin.scheme)
        except ValueError:
            return True
        return (origin.host, origin.port) != (own.host, own.port)


def _is_link(method: str, headers: Headers) -> bool:
    """Whether a person goes to the address, in a tab of its own, and now.

    What is fetched ahead of that, as a page's script may have it, has a purpose.
    """
    return (
        method in ("GET", "HEAD")
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
        and not {"sec-purpose", "purpose"} & set(headers.keys())
    )


def _own_origin(headers: Headers, scheme: str) -> Origin:
    """Where the request came to.

    By the scheme that a page's origin names: behind a proxy ours is not always known, and it is
    host and port that must be the same.
    """
    return parse_origin(f"{scheme}://{headers.get('host', '')}")
