"""Every route that the application has, read from the application itself."""

from dataclasses import dataclass

from fastapi import FastAPI
from starlette.routing import Mount

VALUES = {
    "{run_id}": "1",
    "{epoch}": "0",
    "{job_id}": "1",
    "{reference}": "test:0",
    "{path:path}": "swagger-ui.css",
}


@dataclass(frozen=True)
class Route:
    """A method and a path with its slots."""

    method: str
    template: str

    @property
    def path(self) -> str:
        """A path that leads to it."""
        path = self.template
        for slot, value in VALUES.items():
            path = path.replace(slot, value)
        assert "{" not in path, f"VALUES lacks a value for a slot of {path}"
        return path

    def __str__(self) -> str:
        return f"{self.method} {self.template}"


def routes_of(app: FastAPI) -> list[Route]:
    """All of them: those of the schema, those left out of it, and mounted files."""
    matches: list[Route] = []
    waiting = list(app.router.routes)
    while waiting:
        route = waiting.pop(0)
        if isinstance(route, Mount):
            matches.append(Route("GET", f"{route.path}/{{path:path}}"))
        elif included := getattr(route, "original_router", None):
            waiting.extend(included.routes)
        else:
            methods = set(route.methods) - {"HEAD"}
            matches.extend(Route(method, route.path) for method in sorted(methods))
    return matches
