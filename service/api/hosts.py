"""Under which name the service is asked, and by which site's page.

A page that has its own name resolve to this machine (DNS rebinding) asks under a foreign name; a
page of another site that asks for a change says so by its origin.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problems import problem_response
from service.api.scopes import SAFE
from service.errors import CamreelError, HostRefused, OriginRefused

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104  not a name that anybody asks by
HEALTH = frozenset({"/healthz", "/readyz"})
"""Asked by orchestrators under whatever address a container has."""

DEFAULT_PORTS = {"http": 80, "https": 443}


def names_of(bind: str, allowed: Iterable[str]) -> frozenset[str]:
    """The names that the service is asked by, in lower case: `*.example.org` is any below it."""
    given = {name.strip().strip("[]").lower() for name in (bind, *allowed)}
    return (LOCAL_NAMES | given) - EVERY_ADDRESS


@dataclass(frozen=True)
class Hosts:
    """Refuses a foreign Host on every route but health, and a foreign Origin on a change."""

    app: ASGIApp
    names: frozenset[str]
    origins: frozenset[str]  # of pages that may change things, besides our own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is not None:
            await problem_response(scope, refusal)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> CamreelError | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        ours = len(hosts) == 1 and self._ours(_name(hosts[0]))
        if not ours and scope["path"] not in HEALTH:
            return HostRefused()
        if scope["method"] not in SAFE and self._foreign(headers):
            return OriginRefused()
        return None

    def _ours(self, name: str | None) -> bool:
        if not name:
            return False
        above = (f"*.{name.split('.', at)[-1]}" for at in range(1, name.count(".") + 1))
        return name in self.names or any(one in self.names for one in above)

    def _foreign(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin in self.origins:
            return False
        if headers.get("sec-fetch-site") == "cross-site":
            return True
        # Behind a proxy the scheme is not always known: it is the name and port that must be ours.
        return origin is not None and _place(origin) != _place_of(headers, origin)


def _name(host: str) -> str | None:
    """The name of a Host header, without its port; None for what is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # refuses one that is no number
    except ValueError:
        return None
    return None if parts.path or parts.query or parts.username else parts.hostname


def _place(origin: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(origin)
        return parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None, None


def _place_of(headers: Headers, origin: str) -> tuple[str | None, int | None]:
    """Where the service was asked, by the scheme that the origin names."""
    return _place(f"{origin.partition(':')[0]}://{headers.get('host', '')}")
