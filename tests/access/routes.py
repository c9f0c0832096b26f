"""All routes of the application, read from the application itself."""

from dataclasses import dataclass

from fastapi import FastAPI
from starlette.routing import Mount

PARAMETER_VALUES = {
    "{run_id}": "1",
    "{experiment_id}": "1",
    "{epoch}": "0",
    "{job_id}": "1",
    "{reference}": "test:0",
    "{name}": "digits",
    "{position}": "0",
    "{network_id}": "0" * 64,
    "{sha256}": "0" * 64,
    "{path:path}": "swagger-ui.css",
}


@dataclass(frozen=True)
class Route:
    """A method and a path with parameters."""

    method: str
    template: str

    @property
    def path(self) -> str:
        """A path that matches the route."""
        path = self.template
        for parameter, value in PARAMETER_VALUES.items():
            path = path.replace(parameter, value)
        assert "{" not in path, f"PARAMETER_VALUES lacks a parameter of {path}"
        return path

    def __str__(self) -> str:
        return f"{self.method} {self.template}"


def routes_of(app: FastAPI) -> list[Route]:
    """All routes: those in the schema, those excluded from it, and mounted files."""
    routes: list[Route] = []
    pending = list(app.router.routes)
    while pending:
        route = pending.pop(0)
        if isinstance(route, Mount):
            routes.append(Route("GET", f"{route.path}/{{path:path}}"))
        elif included := getattr(route, "original_router", None):
            pending.extend(included.routes)
        else:
            methods = set(route.methods) - {"HEAD"}
            routes.extend(Route(method, route.path) for method in sorted(methods))
    return routes
