"""Tensors that anybody may have sent, held against a program."""

from collections.abc import Mapping

import torch
from torch import Tensor

from camreel.program.errors import InvalidProgram
from camreel.program.format import Program
from camreel.program.indexing import check_indices
from camreel.program.opset import DTYPES


def check_tensors(program: Program, tensors: Mapping[str, Tensor]) -> None:
    """Verify names, types, shapes, indices, and that all numbers are finite.

    Raises InvalidProgram.
    """
    if unknown := sorted(set(tensors) - set(program.tensors_by_name)):
        raise InvalidProgram("tensors", f"has {unknown[0][:256]!r}, which the program does not use")
    for spec in program.tensors:
        field = f"tensors.{spec.name}"
        tensor = tensors.get(spec.name)
        if tensor is None:
            raise InvalidProgram(field, "is missing")
        if tensor.dtype != DTYPES[spec.dtype]:
            raise InvalidProgram(field, f"must be of type {spec.dtype}")
        if tuple(tensor.shape) != spec.shape:
            raise InvalidProgram(field, f"must have the shape {spec.shape}")
        check_finite(field, tensor)
    check_indices(program, tensors)


def check_finite(field: str, tensor: Tensor) -> None:
    """Raises InvalidProgram if a floating-point number is not finite.

    Attention masks contain -inf: constants may be infinite, but not NaN.
    """
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return
    # One pass that allocates nothing of the tensor's size.
    minimum, maximum = torch.aminmax(tensor)
    if torch.isnan(minimum) or torch.isnan(maximum):
        raise InvalidProgram(field, "contains NaN")
    if field.startswith("tensors.constant:"):
        return
    if torch.isinf(minimum) or torch.isinf(maximum):
        raise InvalidProgram(field, "contains infinite numbers")
