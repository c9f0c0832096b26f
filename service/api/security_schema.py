"""Security schemes and required scopes in the OpenAPI schema."""

from typing import Any

from fastapi import FastAPI

from service.api.middleware.access_control import SESSION_COOKIE
from service.api.route_table import RouteTable
from service.api.scopes import PUBLIC

SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "From `camreel token create`. Optional on loopback until the first one.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": SESSION_COOKIE,
        "description": "Set by `POST /session`. Changes also require the header `X-CSRF-Token`.",
    },
}


def add_security_schemes(app: FastAPI, routes: RouteTable) -> None:
    """Add the security schemes to the schema, and to each operation its required scope."""
    openapi_without_security = app.openapi

    def openapi() -> dict[str, Any]:
        schema = openapi_without_security()
        schema["components"]["securitySchemes"] = SCHEMES
        for path, operations in schema["paths"].items():
            for method, operation in operations.items():
                scope = routes.scope_of(method.upper(), path)
                operation["security"] = [] if scope is PUBLIC else [{name: []} for name in SCHEMES]
                if scope is not PUBLIC:
                    operation["x-scope"] = scope
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
