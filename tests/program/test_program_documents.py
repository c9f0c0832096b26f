"""Documents that are no programs are refused with the field that is wrong; nothing is evaluated."""

import json
from pathlib import Path

import pytest
import torch
from camreel.program import InvalidProgram, Program, ProgramNetwork
from camreel.program.parsing import MAX_NAME_LENGTH

from tests.program.documents import (
    document_with,
    receive,
    valid_document,
    valid_tensors,
)


def test_document_by_hand_is_valid_and_computes_what_it_says():
    program = receive(valid_document())
    network = ProgramNetwork(program, valid_tensors())
    # Each of 27 weights is 1: 27 on all positions of both channels, summed by the linear layer.
    assert network(torch.ones(2, 3, 8, 8)).tolist() == [[54.0] * 4] * 2


def test_program_of_the_documentation_is_valid():
    text = (Path(__file__).parents[2] / "docs" / "programs.md").read_text(encoding="utf-8")
    _, _, block = text.partition("```json\n")
    document = json.loads(block.partition("```")[0])
    assert receive(document).as_json() == document


def test_equal_programs_have_equal_identities():
    document = valid_document()
    document["steps"][0]["arguments"]["stride"] = [1, 1]  # the default
    reordered = dict(reversed(document.items()))
    assert receive(reordered).identity == receive(valid_document()).identity
    assert receive(document_with("steps.1.operator", "tanh")).identity != receive(document).identity


# Code


@pytest.mark.parametrize(
    "name",
    [
        "from_file",
        "aten.from_file",
        "torch.ops.aten.from_file.default",
        "__import__('os').system",
        "os.system",
        "exec",
        "empty",
        "randn",
        "__class__",
        "",
        None,
        ["relu"],
        {"relu": 1},
    ],
)
def test_unknown_operator_is_refused(name):
    with pytest.raises(InvalidProgram, match="not an operator"):
        receive(document_with("steps.1.operator", name))


@pytest.mark.parametrize(
    "name",
    [
        "x = __import__('os').system('id')",
        "conv\nweight",
        "conv weight",
        "../../etc/passwd",
        "a/b",
        "x;y",
        "ｃｏｎｖ",
        "",
        ".hidden",
        "a" * (MAX_NAME_LENGTH + 1),
        7,
        None,
    ],
)
@pytest.mark.parametrize("path", ["tensors.0.name", "modules.0.name"])
def test_names_that_are_code_or_paths_are_refused(path, name):
    with pytest.raises(InvalidProgram):
        receive(document_with(path, name))


@pytest.mark.parametrize("expression", ["s0 * 2", "__import__('os')", "sympify('1')"])
def test_shapes_are_never_expressions(expression):
    with pytest.raises(InvalidProgram):
        receive(document_with("steps.0.shape", [{"batch": expression}, 2, 6, 6]))
    with pytest.raises(InvalidProgram):
        receive(document_with("steps.0.shape", [expression, 2, 6, 6]))


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"\x80\x04\x95", b"", b"null", b"[]", b"\xff"])
def test_what_is_no_json_object_is_refused(content):
    """Archives and pickles among them."""
    with pytest.raises(InvalidProgram):
        Program.from_json(content)


# References


@pytest.mark.parametrize("index", [2, 3, 4, 5, -1, 10**12])
def test_program_with_a_cycle_is_refused(index):
    """Step 1 makes value 2, and may read values 0 and 1."""
    with pytest.raises(InvalidProgram, match=r"steps\.1\.arguments\.input"):
        receive(document_with("steps.1.arguments.input", {"value": index}))


@pytest.mark.parametrize(
    "reference",
    [
        {"tensor": "missing"},
        {"tensor": 1},
        {"value": True},
        {"value": 0.0},
        {"value": 0, "tensor": "conv.weight"},
        {"code": "1"},
        {},
        "conv.weight",
        None,
        [[{"value": 0}]],
    ],
)
def test_dangling_and_malformed_references_are_refused(reference):
    with pytest.raises(InvalidProgram, match=r"steps\.0\.arguments\.input"):
        receive(document_with("steps.0.arguments.input", reference))


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("steps.0.arguments.stride", [0, 0]),
        ("steps.0.arguments.stride", [10**30, 1]),
        ("steps.0.arguments.stride", [1, 1, 1]),
        ("steps.0.arguments.stride", [True, True]),
        ("steps.0.arguments.stride", "1"),
        ("steps.0.arguments.groups", 1.0),
        ("steps.2.arguments.dims", [9]),
        ("steps.2.arguments.keepdim", 1),
        ("steps.2.arguments.out", {"value": 0}),
        ("steps.0.shape", [{"batch": 1}, 2, 6, 6.0]),
        ("steps.0.shape", [{"batch": 1}] * 2),
        ("steps.0.shape", [1] * 9),
        ("input", [3, 8]),
        ("input", [3, 10**9, 8]),
        ("input", [3, -8, 8]),
        ("batch", 2),
        ("batch", True),
        ("format", 2),
        ("opset", True),
        ("tensors.0.dtype", "complex64"),
        ("tensors.0.dtype", "object"),
        ("tensors.0.shape", [2, 3, 3, -3]),
        ("tensors.1.name", "conv.weight"),
        ("modules.0.value", 5),
        ("default_layer", "layer9"),
        ("output.logits", 5),
        ("output.logits", 0),
        ("output.logits", 2),
        ("output.classes", 5),
        ("output.activation", "softmax"),
        ("extra", 1),
        ("steps", {}),
    ],
)
def test_values_of_other_types_or_out_of_range_are_refused(path, content):
    with pytest.raises(InvalidProgram):
        receive(document_with(path, content))


def test_missing_and_repeated_keys_are_refused():
    document = valid_document()
    del document["batch"]
    with pytest.raises(InvalidProgram, match="lacks batch"):
        receive(document)
    text = json.dumps(valid_document())
    with pytest.raises(InvalidProgram, match="twice"):
        Program.from_json(text.replace('"opset": 1', '"opset": 1, "opset": 1').encode())


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "9" * 5000, "-" + "9" * 30])
def test_numbers_that_are_none_are_refused(number):
    text = json.dumps(document_with("steps.0.arguments.groups", 12321)).replace("12321", number)
    with pytest.raises(InvalidProgram):
        Program.from_json(text.encode())
