"""The application's routes as middleware reads them: path templates, methods, required scopes."""

import re
from collections.abc import Iterable
from functools import lru_cache

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.routing import compile_path

from service.api.scopes import PUBLIC, required_scope
from service.store.tokens import ADMIN, READ

TEMPLATE_CACHE_SIZE = 4096


class RouteTable:
    """Path templates with their methods, and the scope that each requires."""

    def __init__(self, scopes: dict[tuple[str, str], str | None]) -> None:
        """`scopes` maps (method, template) to a scope, or to PUBLIC."""
        self.scopes = scopes
        self._methods: dict[str, list[str]] = {}
        for method, template in scopes:
            self._methods.setdefault(template, []).append(method)
        # Compiled as the router compiles them, so that both read a path alike.
        self._patterns: list[tuple[re.Pattern[str], str]] = [
            (compile_path(template)[0], template) for template in self._methods
        ]
        self.template_of = lru_cache(TEMPLATE_CACHE_SIZE)(self._template_of)

    @classmethod
    def of(
        cls, routers: Iterable[APIRouter], framework_routes: dict[tuple[str, str], str | None]
    ) -> "RouteTable":
        """The table of the routers' routes and of those that the framework adds.

        Raises ScopeNotDeclared for an endpoint without `@requires`.
        """
        scopes = dict(framework_routes)
        for router in routers:
            for route in router.routes:
                assert isinstance(route, APIRoute)  # noqa: S101  for mypy
                scope = required_scope(route)
                scopes |= {(method, route.path): scope for method in route.methods or ()}
        return cls(scopes)

    def scope_of(self, method: str, template: str | None) -> str | None:
        """The scope that a request requires; PUBLIC if none, ADMIN for an unknown route.

        HEAD requires what GET does. OPTIONS is public where any method of the path is, otherwise
        it requires READ.
        """
        if method == "OPTIONS" and template in self._methods:
            public = any(self.scopes[m, template] is PUBLIC for m in self._methods[template])
            return PUBLIC if public else READ
        return self.scopes.get(("GET" if method == "HEAD" else method, template or ""), ADMIN)

    def allowed_methods(self, template: str | None) -> list[str]:
        """All methods of a path, HEAD and OPTIONS included; empty for an unknown path."""
        methods = self._methods.get(template or "", [])
        if not methods:
            return []
        return sorted({*methods, "OPTIONS"} | ({"HEAD"} if "GET" in methods else set()))

    def first_segments(self) -> set[str]:
        """The first segment of each template: `{"runs", "jobs", ...}`."""
        return {template.split("/")[1] for template in self._methods} - {""}

    def _template_of(self, path: str) -> str | None:
        """The template that a path matches, `/runs/{run_id}`; None if no route does."""
        for pattern, template in self._patterns:
            if pattern.match(path):
                return template
        return None
