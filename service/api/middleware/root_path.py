"""The path prefix under which a proxy serves the application, `CAMREEL_ROOT_PATH`.

A proxy may strip the prefix or pass it on; behind this middleware no path has it. Only the setting
counts, not a header such as X-Forwarded-Prefix, which any client can send.
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
    """Raises InvalidValue if a route starts with the prefix, which would make paths ambiguous."""
    segments = sorted(routes.first_segments())
    if prefix.split("/")[1] in segments:
        raise InvalidValue("root_path", f"starts like one of the service's own paths: {segments}")


def root_path(scope: Scope) -> str:
    """The prefix of a request, `/camreel`; empty at the root of the origin."""
    path: str = scope.get(_KEY, "")
    return path


@dataclass(frozen=True)
class RootPathMiddleware:
    """Removes the prefix from the request's path, and adds it to the path in `Location`."""

    app: ASGIApp
    prefix: str  # "/camreel"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application with the path below the prefix."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"] == self.prefix:
            # Relative links need the trailing slash.
            await RedirectResponse(f"{self.prefix}/", 307)(scope, receive, send)
            return

        async def send_with_prefix(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("location", "").startswith("/"):
                    headers["location"] = self.prefix + headers["location"]
            await send(message)

        await self.app(self._strip_prefix(scope), receive, send_with_prefix)

    def _strip_prefix(self, scope: Scope) -> Scope:
        inner = {**scope, _KEY: self.prefix}
        if not scope["path"].startswith(f"{self.prefix}/"):
            return inner  # stripped by the proxy
        inner["path"] = scope["path"].removeprefix(self.prefix)
        raw_path = scope.get("raw_path") or b""
        # The prefix may be percent-encoded, in any of several ways.
        is_plain = raw_path.startswith(f"{self.prefix}/".encode())
        inner["raw_path"] = (
            raw_path.removeprefix(self.prefix.encode())
            if is_plain
            else quote(inner["path"]).encode()
        )
        return inner
