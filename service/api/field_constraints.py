"""The bounds of a field that was refused, read from the OpenAPI schema, where they stand once."""

from typing import Any

from fastapi import Request

_TOLD = (
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
    """What the schema says of the field at pydantic's location; empty if it has no such field."""
    openapi: Schema = request.app.openapi()
    route = request.scope.get("route")
    operation = openapi["paths"].get(getattr(route, "path", ""), {}).get(request.method.lower(), {})
    place, *path = location
    if place == "body":
        content = operation.get("requestBody", {}).get("content", {})
        schema: Schema | None = content.get("application/json", {}).get("schema")
    else:
        named = {p["name"]: p["schema"] for p in operation.get("parameters", [])}
        schema = named.get(str(path[0])) if path else None
        path = path[1:]
    for part in path:
        schema = _inside(openapi, schema, part)
    return {key: value for key, value in _flat(openapi, schema).items() if key in _TOLD}


def _inside(openapi: Schema, schema: Schema | None, part: int | str) -> Schema | None:
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
    """A schema with its references followed, or its alternatives if it has some."""
    if schema is None:
        return []
    if "$ref" in schema:
        return _options(openapi, openapi["components"]["schemas"][schema["$ref"].split("/")[-1]])
    alternatives = schema.get("oneOf") or schema.get("anyOf") or []
    return [o for alternative in alternatives for o in _options(openapi, alternative)] or [schema]


def _flat(openapi: Schema, schema: Schema | None) -> Schema:
    options = [o for o in _options(openapi, schema) if o.get("type") != "null"]
    if len(options) == 1:
        return options[0]
    names = [o["properties"]["name"]["const"] for o in options if "name" in o.get("properties", {})]
    return {"enum": names} if names else {}
