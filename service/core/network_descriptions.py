"""Networks as programs: verified, described, and built of the tensors of an epoch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from camreel.program import InvalidProgram, Layer, Program, find_layers
from camreel.program.shapes import check_shapes
from torch import Tensor

from service.core import tensor_files
from service.core.models.layers import Layers
from service.core.models.program_network import ProgramClassifier, describe_program
from service.errors import CheckpointCorrupt, InvalidValue

__all__ = [
    "NetworkDescription",
    "TensorForm",
    "build_network",
    "read_network",
    "verify_network",
]

MAX_PROGRAM_BYTES = 4 * 2**20
"""Of a program's JSON; larger ones are refused."""


ROUNDED_TYPES = ("float16", "bfloat16")
"""Types that a recorder may round float32 weights to."""


@dataclass(frozen=True)
class TensorForm:
    """Type and shape that a program requires of a tensor."""

    dtype: str
    shape: tuple[int, ...]

    def accepts(self, dtype: str, shape: tuple[int, ...]) -> bool:
        """Whether a tensor can be stored for it: also one that was rounded from float32."""
        is_rounded = self.dtype == "float32" and dtype in ROUNDED_TYPES
        return shape == self.shape and (dtype == self.dtype or is_rounded)


@dataclass(frozen=True)
class NetworkDescription:
    """A program, and what a client of the service learns of it."""

    program: Program
    layers: tuple[Layer, ...]

    @property
    def id(self) -> str:
        """SHA-256 of the program's canonical JSON, hexadecimal."""
        return self.program.identity

    @property
    def default_layer(self) -> str | None:
        """The layer that maps are computed for, unless another is requested."""
        return self.program.default_layer

    @cached_property
    def map_layers(self) -> Layers:
        """The layers as maps are resolved by them."""
        return describe_program(self.program)

    @property
    def tensor_forms(self) -> dict[str, TensorForm]:
        """Type and shape of each tensor, by name."""
        return {spec.name: TensorForm(spec.dtype, spec.shape) for spec in self.program.tensors}


def verify_network(content: bytes) -> NetworkDescription:
    """The network of a program's JSON from anybody, after a dry run of its shapes.

    Nothing of it is executed. Raises InvalidValue with the field and the reason.
    """
    try:
        program = Program.from_json(content)
        check_shapes(program)
        return NetworkDescription(program, find_layers(program))
    except InvalidProgram as error:
        raise InvalidValue(error.field, error.message, code="invalid_program") from error


def read_network(content: bytes) -> NetworkDescription:
    """The network of a program that `verify_network` has accepted. Raises CheckpointCorrupt."""
    try:
        program = Program.from_json(content)
    except InvalidProgram as error:
        raise CheckpointCorrupt(f"The stored program cannot be read: {error}") from error
    return NetworkDescription(program, find_layers(program))


def build_network(
    network: NetworkDescription, tensors: Iterator[tuple[str, bytes]]
) -> ProgramClassifier:
    """The network with the tensors of an epoch, as verified files by name."""
    files: Mapping[str, bytes] = dict(tensors)
    forms = network.tensor_forms
    decoded = {
        name: _widened(tensor_files.decode(file), forms.get(name)) for name, file in files.items()
    }
    try:
        return ProgramClassifier(network.program, decoded)
    except InvalidProgram as error:
        raise CheckpointCorrupt(f"The tensors do not fit their program: {error}") from error


def _widened(tensor: Tensor, form: TensorForm | None) -> Tensor:
    """A tensor that was rounded from float32, as float32 again."""
    is_rounded = form is not None and form.dtype == "float32" and tensor.dtype != torch.float32
    return tensor.float() if is_rounded else tensor
