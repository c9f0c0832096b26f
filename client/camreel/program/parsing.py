"""Programs from JSON that anybody may have written: everything is checked, nothing is evaluated.

Time and memory are bounded by the number of bytes.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from camreel.program.errors import InvalidProgram
from camreel.program.format import (
    FORMAT_VERSION,
    Batch,
    ModuleCall,
    Program,
    Step,
    TensorSpec,
    images_shape,
)
from camreel.program.opset import DTYPES, OPERATORS, OPSET_VERSION
from camreel.program.parameters import MAX_DIMENSIONS, MAX_INTEGER, Dimensions
from camreel.program.references import (
    Argument,
    BatchMultiple,
    Shape,
    TensorReference,
    ValueReference,
    from_json,
)

MAX_BYTES = 4 * 2**20
MAX_STEPS = 5_000
MAX_TENSORS = 10_000
MAX_MODULES = 20_000
MAX_NAME_LENGTH = 256
MAX_SIDE = 4096
"""Of an image, in pixels."""
MAX_IMAGE_CHANNELS = 16
MAX_CLASSES = 100_000
MAX_TENSOR_ELEMENTS = 2**31

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@-]*", re.ASCII)
"""Of tensors and modules: no separators of paths, quotes or spaces."""


def parse_program(content: bytes) -> Program:
    """The program of that JSON. Raises InvalidProgram with the field that is wrong."""
    if len(content) > MAX_BYTES:
        raise InvalidProgram("program", f"has more than {MAX_BYTES:,} bytes")
    document = _object(_decoded(content), "program", _KEYS)
    _equal(document["format"], FORMAT_VERSION, "format")
    _equal(document["opset"], OPSET_VERSION, "opset")
    output = _object(document["output"], "output", ("logits", "classes", "activation"))
    tensors = _tensors(document["tensors"])
    steps = _steps(document["steps"], {spec.name for spec in tensors}, document["batch"])
    modules = _modules(document["modules"], len(steps))
    program = Program(
        input_shape=_input_shape(document["input"]),
        batch=_batch(document["batch"]),
        steps=steps,
        tensors=tensors,
        modules=modules,
        logits=_integer(output["logits"], "output.logits", 1, len(steps)),
        classes=_integer(output["classes"], "output.classes", 2, MAX_CLASSES),
        output_activation=_choice(output["activation"], "output.activation"),
        default_layer=_default_layer(document["default_layer"], modules),
    )
    _check_logits(program)
    return program


_KEYS = (
    *("format", "opset", "input", "batch", "steps", "tensors", "modules"),
    *("default_layer", "output"),
)


def _decoded(content: bytes) -> Any:
    try:
        return json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_constant=_refused_constant,
            parse_int=_bounded_integer,
        )
    except UnicodeDecodeError:
        raise InvalidProgram("program", "is not UTF-8") from None
    except RecursionError:
        raise InvalidProgram("program", "is nested too deeply") from None
    except ValueError as error:
        raise InvalidProgram("program", f"is not valid JSON: {error}") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key occurs twice")
    return content


def _refused_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _bounded_integer(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError("a number has more than 20 digits")
    return int(digits)


# Fields


def _object(content: Any, field: str, keys: Sequence[str]) -> dict[str, Any]:
    """An object with exactly those keys."""
    if not isinstance(content, dict):
        raise InvalidProgram(field, "must be an object")
    if unknown := sorted(set(content) - set(keys)):
        raise InvalidProgram(field, f"has the unknown key {unknown[0][:MAX_NAME_LENGTH]!r}")
    if missing := [key for key in keys if key not in content]:
        raise InvalidProgram(field, f"lacks {missing[0]}")
    return content


def _list(content: Any, field: str, greatest_length: int) -> list[Any]:
    if not isinstance(content, list):
        raise InvalidProgram(field, "must be a list")
    if len(content) > greatest_length:
        raise InvalidProgram(field, f"has more than {greatest_length:,} items")
    return content


def _integer(content: Any, field: str, minimum: int, maximum: int) -> int:
    if isinstance(content, bool) or not isinstance(content, int):
        raise InvalidProgram(field, "must be a whole number")
    if not minimum <= content <= maximum:
        raise InvalidProgram(field, f"must be between {minimum} and {maximum}")
    return content


def _equal(content: Any, expected: int, field: str) -> None:
    if isinstance(content, bool) or content != expected:
        raise InvalidProgram(field, f"must be {expected}: this is the supported version")


def is_name(content: str) -> bool:
    """Whether a tensor or a module may have this name."""
    return len(content) <= MAX_NAME_LENGTH and NAME.fullmatch(content) is not None


def _name(content: Any, field: str) -> str:
    if not isinstance(content, str) or not is_name(content):
        raise InvalidProgram(
            field, f"must be at most {MAX_NAME_LENGTH} letters, digits and the signs _ . : @ -"
        )
    return content


def _input_shape(content: Any) -> tuple[int, int, int]:
    if not isinstance(content, list) or len(content) != 3:
        raise InvalidProgram("input", "must be a list of channels, height and width")
    channels, height, width = content
    return (
        _integer(channels, "input.0", 1, MAX_IMAGE_CHANNELS),
        _integer(height, "input.1", 1, MAX_SIDE),
        _integer(width, "input.2", 1, MAX_SIDE),
    )


def _batch(content: Any) -> Batch:
    if content == "dynamic":
        return "dynamic"
    if content == 1 and not isinstance(content, bool):
        return 1
    raise InvalidProgram("batch", 'must be "dynamic" or 1')


def _choice(content: Any, field: str) -> Any:
    if content not in ("identity", "sigmoid"):
        raise InvalidProgram(field, "must be identity or sigmoid")
    return content


def _tensors(content: Any) -> tuple[TensorSpec, ...]:
    specs = []
    names: set[str] = set()
    for index, item in enumerate(_list(content, "tensors", MAX_TENSORS)):
        field = f"tensors.{index}"
        item = _object(item, field, ("name", "dtype", "shape"))
        name = _name(item["name"], f"{field}.name")
        if name in names:
            raise InvalidProgram(f"{field}.name", "occurs twice")
        names.add(name)
        if not isinstance(item["dtype"], str) or item["dtype"] not in DTYPES:
            raise InvalidProgram(f"{field}.dtype", f"must be one of {', '.join(DTYPES)}")
        sides = _list(item["shape"], f"{field}.shape", MAX_DIMENSIONS)
        shape = tuple(_integer(side, f"{field}.shape", 0, MAX_INTEGER) for side in sides)
        if math.prod(shape) > MAX_TENSOR_ELEMENTS:
            raise InvalidProgram(f"{field}.shape", "has too many elements")
        specs.append(TensorSpec(name, item["dtype"], shape))
    return tuple(specs)


def _steps(content: Any, tensor_names: set[str], batch: Any) -> tuple[Step, ...]:
    return tuple(
        _step(item, index, tensor_names, is_batched=batch == "dynamic")
        for index, item in enumerate(_list(content, "steps", MAX_STEPS))
    )


def _step(item: Any, index: int, tensor_names: set[str], *, is_batched: bool) -> Step:
    field = f"steps.{index}"
    item = _object(item, field, ("operator", "arguments", "shape"))
    name = item["operator"]
    if not isinstance(name, str) or name not in OPERATORS:
        raise InvalidProgram(f"{field}.operator", "is not an operator of this version")
    parameters = OPERATORS[name].parameters_by_name
    if not isinstance(item["arguments"], dict):
        raise InvalidProgram(f"{field}.arguments", "must be an object")
    if unknown := sorted(set(item["arguments"]) - set(parameters)):
        raise InvalidProgram(
            f"{field}.arguments", f"has the unknown key {unknown[0][:MAX_NAME_LENGTH]!r}"
        )
    arguments: dict[str, Argument] = {}
    for parameter in parameters.values():
        location = f"{field}.arguments.{parameter.name}"
        if parameter.name not in item["arguments"]:
            if parameter.is_required:
                raise InvalidProgram(location, "is required")
            continue
        argument = _argument(item["arguments"][parameter.name], location)
        try:
            parameter.type.check(argument)
        except ValueError as error:
            raise InvalidProgram(location, str(error)) from None
        _check_references(argument, location, index, tensor_names, is_batched=is_batched)
        if argument != parameter.default or type(argument) is not type(parameter.default):
            arguments[parameter.name] = argument
    return Step(name, arguments, _shape(item["shape"], f"{field}.shape"))


def _argument(content: Any, field: str) -> Argument:
    try:
        return from_json(content)
    except ValueError as error:
        raise InvalidProgram(field, str(error)) from None


def _check_references(
    argument: Argument, field: str, step: int, tensor_names: set[str], *, is_batched: bool
) -> None:
    for item in argument if isinstance(argument, tuple) else (argument,):
        if isinstance(item, ValueReference) and not 0 <= item.index <= step:
            raise InvalidProgram(field, f"refers to value {item.index}: there are 0 to {step}")
        if isinstance(item, TensorReference) and item.name not in tensor_names:
            raise InvalidProgram(field, "refers to a tensor that is not listed")
        if isinstance(item, BatchMultiple) and not is_batched:
            raise InvalidProgram(field, "refers to the number of images, which is always 1")


def _shape(content: Any, field: str) -> Shape:
    sizes = _argument(content, field)
    try:
        Dimensions().check(sizes)
    except ValueError as error:
        raise InvalidProgram(field, str(error)) from None
    assert isinstance(sizes, tuple)  # noqa: S101  as checked
    return tuple(size for size in sizes if isinstance(size, int | BatchMultiple))


def _modules(content: Any, steps: int) -> tuple[ModuleCall, ...]:
    calls = []
    names: set[str] = set()
    for index, item in enumerate(_list(content, "modules", MAX_MODULES)):
        field = f"modules.{index}"
        item = _object(item, field, ("name", "value"))
        name = _name(item["name"], f"{field}.name")
        if name in names:
            raise InvalidProgram(f"{field}.name", "occurs twice")
        names.add(name)
        calls.append(ModuleCall(name, _integer(item["value"], f"{field}.value", 0, steps)))
    return tuple(calls)


def _default_layer(content: Any, modules: Sequence[ModuleCall]) -> str | None:
    if content is None:
        return None
    if not isinstance(content, str) or content not in {call.name for call in modules}:
        raise InvalidProgram("default_layer", "must be null or the name of a module")
    return content


def _check_logits(program: Program) -> None:
    images = images_shape(program)
    if program.shapes[program.logits] != (images[0], program.classes):
        raise InvalidProgram("output.logits", f"must have the shape (N, {program.classes})")
