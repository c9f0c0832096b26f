"""Manifests: what an epoch of a recorded run consists of, as canonical JSON bytes.

A manifest is the checkpoint of its epoch. Its SHA-256 identifies the network and all tensors.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from service.core.checkpoints import require_type
from service.errors import CheckpointCorrupt

FORMAT = 1


@dataclass(frozen=True)
class EpochManifest:
    """The network of an epoch, and the SHA-256 of each tensor's file by name."""

    network: str
    epoch: int
    tensors: Mapping[str, str]

    def encode(self) -> bytes:
        """Canonical JSON: equal manifests are equal bytes."""
        values = {
            "format": FORMAT,
            "network": self.network,
            "epoch": self.epoch,
            "tensors": dict(sorted(self.tensors.items())),
        }
        return json.dumps(values, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> "EpochManifest":
        """The manifest of those bytes. Raises CheckpointCorrupt."""
        try:
            values = json.loads(data)
            tensors = {
                require_type(str, name): _digest(sha256)
                for name, sha256 in values["tensors"].items()
            }
            manifest = cls(_digest(values["network"]), require_type(int, values["epoch"]), tensors)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointCorrupt("The epoch's manifest cannot be read.") from error
        if manifest.encode() != data:
            raise CheckpointCorrupt("The epoch's manifest is not in its canonical form.")
        return manifest


def _digest(value: object) -> str:
    text = require_type(str, value)
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError("not a SHA-256")
    return text


def is_manifest(data: bytes) -> bool:
    """Whether the bytes of a checkpoint are a manifest, and not safetensors."""
    return data.startswith(b"{")
