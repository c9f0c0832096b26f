"""Tensor files: one tensor as safetensors bytes, in the one form that equal tensors share.

A file begins with the length of its header (8 bytes, little-endian) and the header
`{"tensor":{"dtype":"F32","shape":[64,3,7,7],"data_offsets":[0,37632]}}`, padded with spaces to a
multiple of 8 bytes; the elements follow, in C order and little-endian. Its SHA-256 therefore
identifies type, shape and elements.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from service.errors import CheckpointCorrupt, InvalidValue

TENSOR_NAME = "tensor"
FIELD = "body"
LENGTH_BYTES = 8
MAX_HEADER_BYTES = 1024
MAX_DIMENSIONS = 8


@dataclass(frozen=True)
class ElementType:
    """A type of elements: its name in safetensors, and the size of an element in bytes."""

    code: str
    bytes: int


ELEMENT_TYPES: Mapping[str, ElementType] = {
    "float64": ElementType("F64", 8),
    "float32": ElementType("F32", 4),
    "float16": ElementType("F16", 2),
    "bfloat16": ElementType("BF16", 2),
    "int64": ElementType("I64", 8),
    "int32": ElementType("I32", 4),
    "int16": ElementType("I16", 2),
    "int8": ElementType("I8", 1),
    "uint8": ElementType("U8", 1),
    "bool": ElementType("BOOL", 1),
}
"""The types of tensors, by their names in programs."""

_NAMES_BY_CODE = {entry.code: name for name, entry in ELEMENT_TYPES.items()}
_EXPONENTS = {  # unsigned type of the same size, and the exponent's bits: all set if not finite
    "float64": (np.uint64, 0x7FF0_0000_0000_0000),
    "float32": (np.uint32, 0x7F80_0000),
    "float16": (np.uint16, 0x7C00),
    "bfloat16": (np.uint16, 0x7F80),
}


@dataclass(frozen=True)
class TensorHeader:
    """Type and shape of a tensor, as its file states them."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def element_bytes(self) -> int:
        """Bytes of all elements."""
        return math.prod(self.shape) * ELEMENT_TYPES[self.dtype].bytes

    def encode(self) -> bytes:
        """The beginning of the file, up to the first element."""
        values = {
            "dtype": ELEMENT_TYPES[self.dtype].code,
            "shape": list(self.shape),
            "data_offsets": [0, self.element_bytes],
        }
        text = json.dumps({TENSOR_NAME: values}, separators=(",", ":")).encode()
        text += b" " * (-len(text) % LENGTH_BYTES)
        return len(text).to_bytes(LENGTH_BYTES, "little") + text


@dataclass(frozen=True)
class TensorSummary:
    """What a verified file contains."""

    header: TensorHeader
    not_finite: int  # elements that are NaN or infinite


def encode(tensor: Tensor) -> bytes:
    """The file of a tensor on the CPU."""
    header = TensorHeader(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
    elements = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    return header.encode() + elements.numpy().tobytes()


def decode(file: bytes) -> Tensor:
    """The tensor of a verified file. Raises CheckpointCorrupt."""
    try:
        return load(file)[TENSOR_NAME]
    except (SafetensorError, KeyError, ValueError) as error:
        raise CheckpointCorrupt("The file of a tensor cannot be read.") from error


def read_header(start: bytes) -> TensorHeader:
    """The header of a file, from its first bytes. Raises InvalidValue."""
    size = int.from_bytes(start[:LENGTH_BYTES], "little")
    text = start[LENGTH_BYTES : LENGTH_BYTES + size]
    if len(start) < LENGTH_BYTES or size > MAX_HEADER_BYTES or len(text) < size:
        raise InvalidValue(FIELD, "does not begin with the header of a safetensors file")
    try:
        values = json.loads(text)[TENSOR_NAME]
        header = TensorHeader(_NAMES_BY_CODE[values["dtype"]], tuple(values["shape"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        message = f"has no header of a single tensor of the name {TENSOR_NAME}"
        raise InvalidValue(FIELD, message) from error
    if len(header.shape) > MAX_DIMENSIONS or not all(
        type(side) is int and 0 <= side < 2**40 for side in header.shape
    ):
        raise InvalidValue(FIELD, "has no valid shape")
    if not start.startswith(header.encode()):
        raise InvalidValue(FIELD, "has a header in another form than documented")
    return header


def summarize(parts: Iterable[bytes], total_bytes: int) -> TensorSummary:
    """Verify a file, whose first part contains the header. Raises InvalidValue.

    Takes the memory of a part, not of the file.
    """
    iterator = iter(parts)
    first_part = next(iterator, b"")
    header = read_header(first_part)
    start = header.encode()
    if len(start) + header.element_bytes != total_bytes:
        raise InvalidValue(FIELD, "is not as long as its header states")
    not_finite = 0
    for elements in _aligned(first_part[len(start) :], iterator, header):
        if header.dtype == "bool" and elements.translate(None, b"\0\1"):
            raise InvalidValue(FIELD, "has elements of type bool that are neither 0 nor 1")
        not_finite += _count_not_finite(header.dtype, elements)
    return TensorSummary(header, not_finite)


def _aligned(start: bytes, parts: Iterator[bytes], header: TensorHeader) -> Iterator[bytes]:
    """The bytes of the elements in pieces that split no element."""
    size = ELEMENT_TYPES[header.dtype].bytes
    buffer = start
    for part in parts:
        whole = len(buffer) - len(buffer) % size
        yield buffer[:whole]
        buffer = buffer[whole:] + part
    yield buffer


def _count_not_finite(dtype: str, elements: bytes) -> int:
    if dtype not in _EXPONENTS:
        return 0
    unsigned, exponent = _EXPONENTS[dtype]
    bits = np.frombuffer(elements, unsigned)
    return int(np.count_nonzero((bits & unsigned(exponent)) == unsigned(exponent)))
