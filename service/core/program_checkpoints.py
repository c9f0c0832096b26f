"""Epochs of networks that are described by a program: a manifest, and one file for each tensor.

Epochs share the files of tensors that are equal, such as those of frozen layers.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from camreel.program import Program
from camreel.program.constants import CONSTANT_PREFIX
from safetensors.torch import save
from torch import nn

from service.core import tensor_files
from service.core.checkpoints import digest
from service.core.epoch_manifests import EpochManifest
from service.core.models.program_network import export_once


@dataclass(frozen=True)
class ProgramCheckpoint:
    """The network of an epoch."""

    manifest: EpochManifest
    program: Program
    files: Mapping[str, bytes]
    """Tensor files by their SHA-256."""


def encode(module: nn.Module, image_shape: tuple[int, int, int], epoch: int) -> ProgramCheckpoint:
    """The checkpoint of a module for images (D, H, W); equal modules give equal bytes.

    Beside the tensors of its program, it contains those that only training uses. Raises
    ExportError.
    """
    export = export_once(module, image_shape)
    tensors = {**export.constants, **module.state_dict()}
    files: dict[str, bytes] = {}
    hashes: dict[str, str] = {}
    for name, tensor in tensors.items():
        file = tensor_files.encode(tensor.cpu())
        hashes[name] = digest(file)
        files[hashes[name]] = file
    manifest = EpochManifest(export.program.identity, epoch, hashes)
    return ProgramCheckpoint(manifest, export.program, files)


def assemble_state(files: Mapping[str, bytes]) -> bytes:
    """The module's state dict as safetensors bytes, from its tensor files by name."""
    tensors = {
        name: tensor_files.decode(file)
        for name, file in files.items()
        if not name.startswith(CONSTANT_PREFIX)
    }
    return bytes(save(tensors))
