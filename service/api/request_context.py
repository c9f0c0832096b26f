"""What middleware has established about a request: its ID, route and principal."""

import ipaddress
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.types import Scope

from service.flows.access import Principal

_KEY = "camreel.request_context"


@dataclass
class RequestContext:
    """Filled in by the middleware, from the outermost inwards."""

    request_id: str
    route_template: str | None = None  # `/runs/{run_id}`; None if no route matches
    principal: Principal | None = None  # None for public routes, and before authentication


def request_context(scope: Scope) -> RequestContext:
    """The context of a request; an empty one if none was started."""
    context: RequestContext = scope.setdefault(_KEY, RequestContext(""))
    return context


def start_request_context(
    scope: Scope, request_id: str, route_template: str | None
) -> RequestContext:
    """Set and return a new context."""
    context = scope[_KEY] = RequestContext(request_id, route_template)
    return context


def client_address(scope: Scope) -> str:
    """The client's IP address, as a trusted proxy forwards it; "unknown" for anything else.

    X-Forwarded-For can contain any text, which must not reach logs.
    """
    host, *_ = scope.get("client") or ("",)
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return "unknown"


async def _current_principal(request: Request) -> Principal:
    principal = request_context(request.scope).principal
    assert principal is not None, "access control sets a principal"  # noqa: S101  for mypy
    return principal


CurrentPrincipal = Annotated[Principal, Depends(_current_principal)]
