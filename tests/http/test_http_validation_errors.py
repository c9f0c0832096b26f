"""Violations of any constraint have messages written for people, never pydantic's own."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from pydantic import BaseModel, ValidationError
from pydantic_core.core_schema import ErrorType

from service.api.resources.runs import ResumeBody
from service.api.resources.session import SignInBody
from service.core.cams.methods import METHODS
from service.core.optimizers import OPTIMIZERS
from service.core.spec import RunSpec
from service.field_errors import FieldError, field_errors
from service.flows.transfer.manifest import EpochRows, Manifest
from service.settings import Settings

OPENAPI = json.loads((Path(__file__).parents[2] / "openapi" / "openapi.json").read_text())
PYDANTIC_ERRORS = {*get_args(ErrorType), "path_type"} - {"value_error"}
OUR_MESSAGES = re.compile(
    r"must be (a whole number|a number|text|a list|an object|true or false|a time|a path)"
    r"( (of|from|greater than|less than) .+)?"
    r"|must be [\w.+:-]+(, [\w.+:-]+)*( or [\w.+:-]+)?"
    r"|is required|is not a known field",
    re.DOTALL,
)
WRONG_TYPES: tuple[Any, ...] = (
    None,
    True,
    "\ud7ff",
    5,
    0.5,
    [],
    {},
    [None],
    {"name": None},
    10**400,
)


def expect_readable_message(code: str, message: str) -> None:
    """Asserts that a message about an error of pydantic is one of ours."""
    assert "Input" not in message
    if code in PYDANTIC_ERRORS:
        assert OUR_MESSAGES.fullmatch(message), (code, message)


def options(schema: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """The alternatives of a schema, references resolved."""
    if "$ref" in schema:
        return options(definitions[schema["$ref"].split("/")[-1]], definitions)
    alternatives = schema.get("oneOf") or schema.get("anyOf")
    if alternatives:
        return [o for option in alternatives for o in options(option, definitions)]
    return [schema]


def violations(schema: dict[str, Any], definitions: dict[str, Any]) -> Iterator[Any]:
    """Values, each of which violates one constraint of the schema or has another type."""
    yield from WRONG_TYPES
    for option in options(schema, definitions):
        bounds = {
            "minimum": lambda bound: bound - 1,
            "exclusiveMinimum": lambda bound: bound,
            "maximum": lambda bound: bound + 1,
            "exclusiveMaximum": lambda bound: bound,
            "maxLength": lambda count: "x" * (count + 1),
            "minLength": lambda count: "x" * (count - 1),
            "maxItems": lambda count: [1] * (count + 1),
            "minItems": lambda count: [1] * (count - 1),
            "pattern": lambda _: "\n",
            "enum": lambda _: "none of these",
            "const": lambda _: "not this",
            "not": lambda schema: schema["multipleOf"],
        }
        for keyword, violate in bounds.items():
            if keyword in option:
                value = violate(option[keyword])
                yield int(value) if option.get("type") == "integer" else value
        if "items" in option:
            yield from (
                [value] * option.get("minItems", 1)
                for value in violations(option["items"], definitions)
            )
        if "properties" in option:
            yield from bodies(option, definitions)


def bodies(schema: dict[str, Any], definitions: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Objects with one invalid field."""
    tag = schema["properties"].get("name", {}).get("const")
    name = {"name": tag} if tag is not None else {}
    yield name | {"unknown": 1}
    for field, subschema in schema["properties"].items():
        for value in violations(subschema, definitions):
            yield name | {field: value}


def errors_of(model: type[BaseModel], values: Any, schema: dict[str, Any]) -> list[FieldError]:
    try:
        model.model_validate(values)
    except ValidationError as error:
        return field_errors(error.errors(), schema)
    return []


@pytest.mark.parametrize(
    "model",
    [
        RunSpec,
        Settings,
        Manifest,
        EpochRows,
        ResumeBody,
        SignInBody,
        *OPTIMIZERS.values(),
        *dict.fromkeys(method.parameters for method in METHODS.values()),
    ],
    ids=lambda model: model.__name__,
)
def test_every_constraint_of_a_model_has_a_readable_message(model: type[BaseModel]) -> None:
    schema = model.model_json_schema()
    errors = [
        error
        for values in [*WRONG_TYPES, *bodies(schema, schema.get("$defs", {}))]
        for error in errors_of(model, values, schema)
    ]
    assert errors
    for error in errors:
        expect_readable_message(error.code, error.message)


OPERATIONS = [
    (verb, path)
    for path, operations in OPENAPI["paths"].items()
    for verb, operation in operations.items()
    if operation.get("parameters") and path != "/session"
]
PATH_VALUES = {
    "run_id": "999999",
    "experiment_id": "999999",
    "epoch": "1",
    "reference": "test:1",
    "job_id": "1",
    "name": "digits",
    "position": "0",
    "network_id": "0" * 64,
    "sha256": "0" * 64,
}
"""The run does not exist, so requests with valid values compute nothing."""


@pytest.mark.parametrize(("verb", "path"), OPERATIONS)
def test_every_constraint_of_a_request_has_a_readable_message(
    http: httpx.Client, verb: str, path: str
) -> None:
    definitions = OPENAPI["components"]["schemas"]
    for parameter in OPENAPI["paths"][path][verb]["parameters"]:
        for value in violations(parameter["schema"], definitions):
            if isinstance(value, list | dict) or value is None:
                continue  # not a value of a query
            text = str(value).replace("\n", "%0A").replace("\ud7ff", "%ED%9F%BF")
            values = PATH_VALUES
            query = ""
            headers = {}
            if parameter["in"] == "path":
                values = values | {parameter["name"]: text}
            elif parameter["in"] == "query":
                query = f"?{parameter['name']}={text}"
            elif text.isascii() and text.isprintable():
                headers[parameter["name"]] = text
            response = http.request(verb, path.format(**values) + query, headers=headers)
            if response.status_code != 422:
                continue  # the text is a valid value of this parameter
            for error in response.json()["errors"]:
                expect_readable_message(error["type"], error["message"])
                assert str(error["field"]) in response.json()["detail"]
