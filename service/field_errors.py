"""Validation errors as sentences for people.

Pydantic's own messages speak of its types and of Python values. Here the message of an error is
made from its type and from the JSON schema of the field. Validators with a reason of their own
raise `PydanticCustomError`, whose type, message and context are passed on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

Schema = Mapping[str, Any]
Location = Sequence[int | str]

WHOLE_NUMBER = "a whole number"
NUMBER = "a number"
TEXT = "text"
LIST = "a list"
OBJECT = "an object"

TYPE_NOUNS = {
    "integer": WHOLE_NUMBER,
    "number": NUMBER,
    "string": TEXT,
    "array": LIST,
    "object": OBJECT,
    "boolean": "true or false",
}
"""By type of JSON Schema."""

OBJECT_ERRORS = {"dict_type", "model_type", "model_attributes_type", "union_tag_not_found"}

VALUE_NOUNS = {
    **dict.fromkeys(
        ("int_type", "int_parsing", "int_parsing_size", "int_from_float"), WHOLE_NUMBER
    ),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), NUMBER),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("string_type", "string_unicode"), TEXT),
    **dict.fromkeys(("list_type", "tuple_type"), LIST),
    **dict.fromkeys(OBJECT_ERRORS, OBJECT),
    **dict.fromkeys(("datetime_type", "datetime_parsing", "datetime_from_date_parsing"), "a time"),
    "path_type": "a path",
}
"""By type of pydantic's error: what the value must be, where the schema does not say more."""

MESSAGES = {"missing": "is required", "extra_forbidden": "is not a known field"}

# Reported in addition to the actual error: a default that depends on an invalid field.
SECONDARY_ERRORS = {"default_factory_not_called"}

KEY_OF_OBJECT = "[key]"
"""Follows a key in the location of an error if the key itself is not valid."""

_PYDANTIC_ERRORS = frozenset(get_args(ErrorType)) - {"value_error", "assertion_error"}

_KEYWORDS = (
    "type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "minLength", "maxLength", "minItems", "maxItems", "pattern", "not",
)  # fmt: skip


@dataclass(frozen=True)
class FieldError:
    """One invalid value. The value itself is not part of it, as it may be a secret."""

    field: str  # dotted, as in `architecture.channels.1`; empty for the whole input
    code: str  # pydantic's type of the error, or that of our own validator
    message: str  # continues the name of the field: "must be a whole number from 1 to 10000"
    allowed: dict[str, object]  # keywords of JSON Schema
    context: dict[str, object]  # values in our own validator's message

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


def field_errors(errors: Iterable[ErrorDetails], schema: Schema | None) -> list[FieldError]:
    """The errors of a `ValidationError`, by the JSON schema of what was validated.

    References in the schema are resolved by its own `$defs`. The locations of the errors start
    at the schema; those of a request start with its part, such as `body`.
    """
    definitions = (schema or {}).get("$defs", {})
    details = list(errors)
    primary = [error for error in details if error["type"] not in SECONDARY_ERRORS]
    return [field_error(error, schema, definitions) for error in primary or details]


def field_error(
    error: ErrorDetails, schema: Schema | None, definitions: Mapping[str, Schema]
) -> FieldError:
    """One error of a `ValidationError`; `definitions` holds the schemas that `$ref` names."""
    fields, schema = _locate(error["loc"], schema, definitions)
    if _is_unknown_variant(error):
        fields.append("name")
    allowed = _keywords(schema, definitions)
    context = error.get("ctx", {}) if error["type"] not in _PYDANTIC_ERRORS else {}
    return FieldError(
        field=".".join(fields),
        code=error["type"],
        message=_message(error, allowed),
        allowed=allowed,
        context={
            key: value for key, value in context.items() if isinstance(value, str | int | float)
        },
    )


def _message(error: ErrorDetails, allowed: Schema) -> str:
    code = error["type"]
    if code in MESSAGES:
        return MESSAGES[code]
    if code == "value_error":
        return str(error["ctx"]["error"])
    if code not in _PYDANTIC_ERRORS and code not in VALUE_NOUNS:
        return error["msg"]
    if code == "string_pattern_mismatch" and "pattern" in allowed:
        return f"must be text of the form {allowed['pattern']}"
    if code in OBJECT_ERRORS and not _is_unknown_variant(error):
        return f"must be {OBJECT}"
    description = describe(allowed) or VALUE_NOUNS.get(code)
    return f"must be {description}" if description else "is not valid"


def describe(schema: Schema) -> str:
    """What a value must be: `a whole number from 1 to 10000`; empty without constraints."""
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if values:
        *others, last = map(str, values)
        return f"{', '.join(others)} or {last}" if others else last
    kind = schema.get("type", "")
    constraint = {
        "integer": _range,
        "number": _range,
        "string": _length,
        "array": _item_count,
    }.get(kind)
    noun = TYPE_NOUNS.get(kind, "")
    return f"{noun} {constraint(schema)}".strip() if constraint and noun else noun


def _range(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if schema["type"] == "integer":
        low, above = (low, None) if above is None else (above + 1, None)
        high, below = (high, None) if below is None else (below - 1, None)
    if low is not None and high is not None:
        return f"from {_plain(low)} to {_plain(high)}"
    # "of" belongs to the first of two bounds: "of at least 0 and less than 1".
    words = {"of at least": low, "greater than": above}
    words |= {"of at most" if low is above is None else "at most": high, "less than": below}
    return " and ".join(
        f"{text} {_plain(bound)}" for text, bound in words.items() if bound is not None
    )


def _plain(value: float) -> str:
    # FastAPI's OpenAPI schema has floats as the bounds of integers.
    return str(int(value)) if value == int(value) else f"{value:g}"


def _length(schema: Schema) -> str:
    return _count(schema.get("minLength"), schema.get("maxLength"), "character")


def _item_count(schema: Schema) -> str:
    return _count(schema.get("minItems"), schema.get("maxItems"), "value")


def _count(minimum: int | None, maximum: int | None, noun: str) -> str:
    last = maximum if maximum is not None else minimum
    nouns = noun if last == 1 else f"{noun}s"
    if maximum is None:
        return f"of at least {minimum} {nouns}" if minimum else ""
    if minimum == maximum:
        return f"of exactly {maximum} {nouns}"
    return f"of {minimum} to {maximum} {nouns}" if minimum else f"of at most {maximum} {nouns}"


def _is_unknown_variant(error: ErrorDetails) -> bool:
    """Whether an object with alternatives, such as the optimizer, has no valid `name`."""
    is_untagged = error["type"] == "union_tag_not_found" and isinstance(error.get("input"), Mapping)
    return is_untagged or error["type"] == "union_tag_invalid"


def _locate(
    location: Location, schema: Schema | None, definitions: Mapping[str, Schema]
) -> tuple[list[str], Schema | None]:
    """The names of the fields to a location, and the schema there; None for unknown fields.

    A location also contains the tags of unions, which are no fields.
    """
    fields = []
    for part in location:
        if part == KEY_OF_OBJECT:
            continue
        variant = _variant(schema, part, definitions)
        if variant is None:
            fields.append(str(part))
        schema = variant or _child(schema, part, definitions)
    return fields, schema


def _variant(
    schema: Schema | None, tag: int | str, definitions: Mapping[str, Schema]
) -> Schema | None:
    """The alternative of a union whose `name` is the tag."""
    options = _options(schema, definitions)
    return next((option for option in options[1:] and options if _tag(option) == tag), None)


def _names(schema: Schema) -> list[Any]:
    """The values of `name` that select an alternative."""
    name = schema.get("properties", {}).get("name", {})
    return [name["const"]] if "const" in name else list(name.get("enum", []))


def _tag(schema: Schema) -> object:
    """The name of an alternative, or the family of its names: what stands before a colon."""
    families = {str(name).partition(":")[0] for name in _names(schema)}
    return families.pop() if len(families) == 1 else None


def _child(
    schema: Schema | None, part: int | str, definitions: Mapping[str, Schema]
) -> Schema | None:
    for option in _options(schema, definitions):
        child = (
            option.get("items") if isinstance(part, int) else option.get("properties", {}).get(part)
        )
        if child is not None:
            return dict(child)
    return None


def _options(schema: Schema | None, definitions: Mapping[str, Schema]) -> list[Schema]:
    """The alternatives of a schema, or the schema itself, with references resolved."""
    if schema is None:
        return []
    if "$ref" in schema:
        return _options(definitions[schema["$ref"].split("/")[-1]], definitions)
    alternatives = schema.get("oneOf") or schema.get("anyOf") or []
    return [o for option in alternatives for o in _options(option, definitions)] or [schema]


def _keywords(schema: Schema | None, definitions: Mapping[str, Schema]) -> dict[str, object]:
    """The schema's constraints; of a union, the names of its alternatives."""
    options = [o for o in _options(schema, definitions) if o.get("type") != "null"]
    if len(options) == 1:
        return {key: value for key, value in options[0].items() if key in _KEYWORDS}
    names = [name for option in options for name in _names(option)]
    return {"enum": names} if names else {}


def find_schema(path: Sequence[str], schema: Schema) -> Schema | None:
    """The schema at a path of fields, of the first alternative that has it; None if none has."""
    definitions = schema.get("$defs", {})
    node: Schema | None = schema
    for part in path:
        node = _child(node, int(part) if part.isdigit() else part, definitions)
        if node is None:
            return None
    if node is None:
        return None
    options = _options(node, definitions)
    # A default stands beside the reference to the schema that it is of.
    return {**(options[0] if options else node), **{k: node[k] for k in ("default",) if k in node}}
