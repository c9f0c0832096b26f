"""What is known of a request while it is answered: filled in from the outside inwards."""

import ipaddress
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.types import Scope

from service.flows.access import Principal

_KEY = "camreel.asked"


@dataclass
class Asked:
    """A request's identity, the route that it is for, and who asks."""

    id: str
    template: str | None = None  # the path of its route; None for one that no route has
    who: Principal | None = None


def asked(scope: Scope) -> Asked:
    """What is known of the request; an identity is all that there is at first."""
    found: Asked = scope.setdefault(_KEY, Asked(""))
    return found


def begin(scope: Scope, request_id: str, template: str | None) -> Asked:
    """The request begins."""
    scope[_KEY] = Asked(request_id, template)
    return asked(scope)


def client_of(scope: Scope) -> str:
    """The client's address: the proxy's word for it, where the proxy is trusted.

    What is no address is not repeated: in X-Forwarded-For anything may stand.
    """
    host, *_ = scope.get("client") or ("",)
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return "unknown"


async def _who(request: Request) -> Principal:
    found = asked(request.scope).who
    assert found is not None, "the gate lets nobody by unknown"  # noqa: S101  for mypy
    return found


Who = Annotated[Principal, Depends(_who)]
