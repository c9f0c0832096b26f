"""The path below which a proxy shows the service, `CAMREEL_ROOT_PATH`.

A proxy may strip it from requests or pass it on; behind this middleware no path has it. Only the
setting is honored, never a header such as X-Forwarded-Prefix: any client can send one.
"""

from dataclasses import dataclass
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.route_table import RouteTable
from service.errors import InvalidValue

_KEY = "camreel.root_path"


def check_prefix(prefix: str, routes: RouteTable) -> None:
    """Raises InvalidValue for a prefix that begins like a route: a path would mean either."""
    taken = sorted(routes.first_segments())
    if prefix.split("/")[1] in taken:
        raise InvalidValue("root_path", f"begins like one of the service's own paths: {taken}")


def root_path(scope: Scope) -> str:
    """`/camreel`; empty at the root of the origin, or where it is not known."""
    path: str = scope.get(_KEY, "")
    return path


@dataclass(frozen=True)
class RootPathMiddleware:
    """Takes the prefix off a request's path, and puts it before the path in `Location`."""

    app: ASGIApp
    prefix: str  # "/camreel"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer below the prefix."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"] == self.prefix:
            # What is relative to the service's address needs its last slash.
            await RedirectResponse(f"{self.prefix}/", 307)(scope, receive, send)
            return

        async def located(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("location", "").startswith("/"):
                    headers["location"] = self.prefix + headers["location"]
            await send(message)

        await self.app(self._below(scope), receive, located)

    def _below(self, scope: Scope) -> Scope:
        inner = {**scope, _KEY: self.prefix}
        if not scope["path"].startswith(f"{self.prefix}/"):
            return inner  # the proxy stripped it
        inner["path"] = scope["path"].removeprefix(self.prefix)
        sent = scope.get("raw_path") or b""
        # The prefix itself may have come escaped, in whatever way.
        plain = sent.startswith(f"{self.prefix}/".encode())
        inner["raw_path"] = (
            sent.removeprefix(self.prefix.encode()) if plain else quote(inner["path"]).encode()
        )
        return inner
