"""The token scope that a route requires, declared on its endpoint."""

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter
from fastapi.routing import APIRoute

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110, 9.2.1)."""

PUBLIC = None
"""In place of a scope: no token is required."""

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

_ATTRIBUTE = "required_scope"


class ScopeNotDeclared(Exception):
    """A route's endpoint lacks `@requires`."""


def requires(scope: str | None) -> Callable[[Endpoint], Endpoint]:
    """Declare the scope that an endpoint requires. Goes below the router's decorator.

    Example:
        @router.delete("/runs/{run_id}")
        @requires(ADMIN)
        def delete_run(...): ...

    """

    def declare(endpoint: Endpoint) -> Endpoint:
        vars(endpoint)[_ATTRIBUTE] = scope
        return endpoint

    return declare


def declare_public(router: APIRouter) -> APIRouter:
    """The router, with all its endpoints declared public."""
    for route in router.routes:
        assert isinstance(route, APIRoute)  # noqa: S101  for mypy
        requires(PUBLIC)(route.endpoint)
    return router


def required_scope(route: APIRoute) -> str | None:
    """The scope declared on the route's endpoint. Raises ScopeNotDeclared."""
    try:
        scope: str | None = vars(route.endpoint)[_ATTRIBUTE]
    except KeyError:
        endpoint = f"{route.endpoint.__module__}.{route.endpoint.__qualname__}"
        raise ScopeNotDeclared(f"{endpoint} lacks @requires below its route decorator") from None
    return scope
