"""Checkpoints: a network's weights and its description as safetensors bytes. Never pickle."""

import hashlib
import json
from dataclasses import dataclass
from typing import TypeVar

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from service.core.input import InputSpec
from service.core.models import Architecture, parse_architecture
from service.core.models.architecture import build_structure
from service.core.spec import RunSpec
from service.errors import CheckpointCorrupt

# A single key: safetensors writes several in hash order, so that equal networks would not give
# equal bytes.
METADATA_KEY = "camreel"

T = TypeVar("T", int, str)


@dataclass(frozen=True)
class CheckpointHeader:
    """The metadata of a checkpoint: enough to rebuild and explain the network without its run."""

    architecture: Architecture
    epoch: int
    dataset: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    input_spec: InputSpec | None = None  # None: the levels of the images, scaled to 0..1

    @classmethod
    def for_epoch(cls, spec: RunSpec, epoch: int) -> "CheckpointHeader":
        """The header of an epoch of a run."""
        source = spec.source
        input_spec = None if spec.input.is_plain else spec.input
        names = source.class_names
        return cls(spec.architecture, epoch, spec.dataset, source.image_shape, names, input_spec)

    def to_json(self) -> str:
        """The header as JSON, as stored in the file's metadata."""
        return json.dumps(
            {
                "format": 1,
                "architecture": self.architecture.model_dump(mode="json"),
                "epoch": self.epoch,
                "dataset": self.dataset,
                "image_shape": self.image_shape,
                "class_names": self.class_names,
                **self._input_values(),
            }
        )

    def _input_values(self) -> dict[str, object]:
        # Left out where it says nothing, so that the bytes of older checkpoints are the same.
        if self.input_spec is None:
            return {}
        return {"input": self.input_spec.model_dump(mode="json")}

    @classmethod
    def from_json(cls, text: str) -> "CheckpointHeader":
        """The header of that JSON. Raises CheckpointCorrupt."""
        try:
            values = json.loads(text)
            depth, height, width = (require_type(int, side) for side in values["image_shape"])
            return cls(
                parse_architecture(values["architecture"]),
                require_type(int, values["epoch"]),
                require_type(str, values["dataset"]),
                (depth, height, width),
                tuple(require_type(str, name) for name in values["class_names"]),
                InputSpec.model_validate(values["input"]) if "input" in values else None,
            )
        except (
            ValueError,
            KeyError,
            TypeError,
            OverflowError,
            RecursionError,
            ValidationError,
        ) as error:
            raise CheckpointCorrupt("The checkpoint's header cannot be read.") from error


def require_type(expected_type: type[T], value: object) -> T:
    """The value if its type is exactly that one (a bool is not an int). Raises TypeError."""
    if type(value) is not expected_type:
        raise TypeError(f"not of type {expected_type.__name__}")
    return value


def encode(network: nn.Module, header: CheckpointHeader) -> bytes:
    """The network's tensors, float32, as safetensors bytes; equal networks give equal bytes."""
    tensors = {
        name: tensor.detach().to("cpu", memory_format=torch.contiguous_format).contiguous()
        for name, tensor in network.state_dict().items()
    }
    return bytes(save(tensors, {METADATA_KEY: header.to_json()}))


def decode(data: bytes) -> tuple[nn.Module, CheckpointHeader]:
    """The network, in evaluation mode and without gradients of its weights, and its header.

    Raises CheckpointCorrupt for bytes that are not a checkpoint.
    """
    header = read_header(data)
    try:
        # Without memory nothing is initialized, and a forged header allocates none.
        classes = len(header.class_names)
        network = build_structure(header.architecture, header.image_shape, classes)
        network.load_state_dict(load(data), assign=True)
    except (SafetensorError, RuntimeError, ValueError, TypeError) as error:
        raise CheckpointCorrupt("The checkpoint's tensors do not fit its network.") from error
    # Channels last halves the time of a forward pass of ten images.
    network = network.to(memory_format=torch.channels_last)
    return network.eval().requires_grad_(requires_grad=False), header


def read_header(data: bytes) -> CheckpointHeader:
    """The header. safetensors begins with the length of its JSON, 8 bytes little-endian."""
    size = int.from_bytes(data[:8], "little")
    try:
        text = json.loads(data[8 : 8 + size])["__metadata__"][METADATA_KEY]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointCorrupt("The bytes are not a checkpoint of Camreel.") from error
    return CheckpointHeader.from_json(str(text))


def digest(data: bytes) -> str:
    """SHA-256 of the bytes, hexadecimal: a checkpoint's identity."""
    return hashlib.sha256(data).hexdigest()
