"""Shapes are verified by a dry run, and tensors against the program."""

import math

import pytest
import torch
from camreel.program import InvalidProgram, ProgramNetwork
from camreel.program.checks import check_tensors

from tests.program.documents import (
    document_with,
    receive,
    valid_document,
    valid_tensors,
    with_tensor,
)

# Shapes


def test_declared_shape_that_is_not_computed_is_refused():
    with pytest.raises(InvalidProgram, match=r"steps\.0\.shape"):
        receive(document_with("steps.0.shape", [{"batch": 1}, 2, 7, 7]))


def test_operands_that_do_not_fit_are_refused():
    with pytest.raises(InvalidProgram, match=r"steps\.0: "):
        receive(document_with("tensors.0.shape", [2, 4, 3, 3]))


def test_output_of_another_shape_is_refused():
    document = document_with("tensors.1.shape", [4, 2])
    document["output"]["logits"] = 3
    document["output"]["classes"] = 2
    receive(document)  # the pooled channels are two classes
    document["output"]["classes"] = 4
    with pytest.raises(InvalidProgram, match=r"output\.logits"):
        receive(document)


def test_number_of_images_in_two_dimensions_is_refused():
    document = valid_document()
    document["steps"].append(
        {
            "operator": "matmul",
            "arguments": {"input": {"value": 4}, "other": {"value": 5}},
            "shape": [{"batch": 1}, 4],
        }
    )
    document["steps"].insert(
        4,
        {
            "operator": "transpose",
            "arguments": {"input": {"value": 4}, "dim0": 0, "dim1": 1},
            "shape": [4, {"batch": 1}],
        },
    )
    document["output"]["logits"] = 6
    with pytest.raises(InvalidProgram, match=r"steps\.5"):
        receive(document)


# Indices


def indexing_document(index):
    """Rows of the linear layer's weight, by an index: the class scores of a linear classifier."""
    document = valid_document()
    document["tensors"].append({"name": "rows", "dtype": "int64", "shape": [4]})
    document["steps"].insert(
        3,
        {
            "operator": "index",
            "arguments": {"input": {"tensor": "fc.weight"}, "indices": [index]},
            "shape": [4, 2],
        },
    )
    document["steps"][4]["arguments"] = {"input": {"value": 3}, "weight": {"value": 4}}
    document["output"]["logits"] = 5
    return document


def test_indices_within_their_range_are_accepted():
    program = receive(indexing_document({"tensor": "rows"}))
    tensors = with_tensor("rows", torch.tensor([3, -4, 0, 1]))
    check_tensors(program, tensors)
    assert ProgramNetwork(program, tensors)(torch.ones(1, 3, 8, 8)).shape == (1, 4)


@pytest.mark.parametrize("row", [4, -5, 2**62])
def test_indices_out_of_range_are_refused(row):
    """On a GPU they would end the process's use of the device."""
    program = receive(indexing_document({"tensor": "rows"}))
    with pytest.raises(InvalidProgram, match=r"tensors\.rows"):
        check_tensors(program, with_tensor("rows", torch.tensor([0, 1, 2, row])))


def test_indices_that_are_computed_are_refused():
    document = indexing_document({"value": 4})
    document["steps"].insert(
        3,
        {
            "operator": "to_dtype",
            "arguments": {"input": {"tensor": "fc.weight"}, "dtype": "int64"},
            "shape": [4, 2],
        },
    )
    document["steps"][4]["shape"] = [4, 2, 2]
    document["steps"][5]["arguments"]["weight"] = {"tensor": "fc.weight"}
    document["output"]["logits"] = 6
    with pytest.raises(InvalidProgram, match=r"steps\.4: its indices"):
        receive(document)


# Tensors


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused(number):
    weight = torch.ones(2, 3, 3, 3)
    weight[1, 2, 0, 1] = number
    with pytest.raises(InvalidProgram, match=r"tensors\.conv\.weight"):
        check_tensors(receive(valid_document()), with_tensor("conv.weight", weight))


@pytest.mark.parametrize(
    "weight",
    [torch.ones(2, 3, 3, 3).double(), torch.ones(2, 3, 3), torch.ones(2, 3, 3, 3).int()],
)
def test_weights_of_another_type_or_shape_are_refused(weight):
    with pytest.raises(InvalidProgram, match=r"tensors\.conv\.weight"):
        check_tensors(receive(valid_document()), with_tensor("conv.weight", weight))


def test_missing_and_unknown_tensors_are_refused():
    program = receive(valid_document())
    tensors = valid_tensors()
    check_tensors(program, tensors)
    with pytest.raises(InvalidProgram, match="does not use"):
        check_tensors(program, with_tensor("bias", torch.ones(1)))
    del tensors["fc.weight"]
    with pytest.raises(InvalidProgram, match=r"tensors\.fc\.weight: is missing"):
        check_tensors(program, tensors)
    with pytest.raises(InvalidProgram, match="is missing"):
        ProgramNetwork(program, tensors)
