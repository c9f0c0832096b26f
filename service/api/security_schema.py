"""What the OpenAPI schema says of tokens: the same table that the gate reads."""

from typing import Any

from fastapi import FastAPI

from service.api.middleware.access_control import SESSION_COOKIE
from service.api.route_table import RouteTable
from service.api.scopes import PUBLIC

SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "Of `camreel token create`. Not asked for on loopback while there is none.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": SESSION_COOKIE,
        "description": "Of `POST /session`. A change needs the header `X-CSRF-Token` as well.",
    },
}


def add_security_schemes(app: FastAPI, routes: RouteTable) -> None:
    """Have the application's schema name what each operation asks for."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        schema = plain()
        schema["components"]["securitySchemes"] = SCHEMES
        for path, operations in schema["paths"].items():
            for method, operation in operations.items():
                scope = routes.scope_of(method.upper(), path)
                operation["security"] = [] if scope is PUBLIC else [{name: []} for name in SCHEMES]
                if scope is not PUBLIC:
                    operation["x-scope"] = scope
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
