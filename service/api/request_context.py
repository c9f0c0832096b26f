"""What is known of a request while it is answered: filled in from the outside inwards."""

import ipaddress
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.types import Scope

from service.flows.access import Principal

_KEY = "camreel.asked"


@dataclass
class RequestContext:
    """A request's identity, the route that it is for, and who asks."""

    request_id: str
    route_template: str | None = None  # the path of its route; None for one that no route has
    principal: Principal | None = None


def request_context(scope: Scope) -> RequestContext:
    """What is known of the request; an identity is all that there is at first."""
    context: RequestContext = scope.setdefault(_KEY, RequestContext(""))
    return context


def start_request_context(scope: Scope, request_id: str, template: str | None) -> RequestContext:
    """The request begins."""
    scope[_KEY] = RequestContext(request_id, template)
    return request_context(scope)


def client_address(scope: Scope) -> str:
    """The client's address: the proxy's word for it, where the proxy is trusted.

    What is no address is not repeated: in X-Forwarded-For anything may stand.
    """
    host, *_ = scope.get("client") or ("",)
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return "unknown"


async def _current_principal(request: Request) -> Principal:
    principal = request_context(request.scope).principal
    assert principal is not None, "the gate lets nobody by unknown"  # noqa: S101  for mypy
    return principal


CurrentPrincipal = Annotated[Principal, Depends(_current_principal)]
