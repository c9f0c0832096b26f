"""Constraints of a request's fields, read from the OpenAPI schema."""

from typing import Any

from fastapi import Request

_KEYWORDS = (
    "type",
    "enum",
    "const",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "pattern",
    "not",
)

Schema = dict[str, Any]


def field_constraints(request: Request, location: tuple[int | str, ...]) -> dict[str, object]:
    """JSON Schema keywords of the field at a pydantic error location; empty for unknown fields."""
    openapi: Schema = request.app.openapi()
    route = request.scope.get("route")
    operation = openapi["paths"].get(getattr(route, "path", ""), {}).get(request.method.lower(), {})
    source, *path = location
    if source == "body":
        content = operation.get("requestBody", {}).get("content", {})
        schema: Schema | None = content.get("application/json", {}).get("schema")
    else:
        parameters = {p["name"]: p["schema"] for p in operation.get("parameters", [])}
        schema = parameters.get(str(path[0])) if path else None
        path = path[1:]
    for part in path:
        schema = _subschema(openapi, schema, part)
    return {key: value for key, value in _resolve(openapi, schema).items() if key in _KEYWORDS}


def _subschema(openapi: Schema, schema: Schema | None, part: int | str) -> Schema | None:
    for option in _options(openapi, schema):
        if isinstance(part, int):
            if "items" in option:
                return dict(option["items"])
        elif part in option.get("properties", {}):
            return dict(option["properties"][part])
        elif option.get("properties", {}).get("name", {}).get("const") == part:
            return option
    return None


def _options(openapi: Schema, schema: Schema | None) -> list[Schema]:
    """The alternatives of a schema, or the schema itself, with references resolved."""
    if schema is None:
        return []
    if "$ref" in schema:
        return _options(openapi, openapi["components"]["schemas"][schema["$ref"].split("/")[-1]])
    alternatives = schema.get("oneOf") or schema.get("anyOf") or []
    return [o for alternative in alternatives for o in _options(openapi, alternative)] or [schema]


def _resolve(openapi: Schema, schema: Schema | None) -> Schema:
    options = [o for o in _options(openapi, schema) if o.get("type") != "null"]
    if len(options) == 1:
        return options[0]
    names = [o["properties"]["name"]["const"] for o in options if "name" in o.get("properties", {})]
    return {"enum": names} if names else {}
