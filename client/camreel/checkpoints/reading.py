"""Checkpoint files of frameworks, read without running code of theirs.

Files of torch are loaded with `weights_only=True`. Classes that are not allowed there become inert
stand-ins, which keep nothing of what the file says about them.
"""

import json
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from camreel.recorder.modules import clean_name

MAX_DEPTH = 3
MAX_STAND_INS = 200
_EPOCH_NAMES = (
    re.compile(r"epoch[-_= ]?(\d+)", re.IGNORECASE),
    re.compile(r"(?:^|[-_=. ])(\d+)$"),  # not the 18 of resnet18
)
EPOCH_KEYS = ("epoch", "epochs")


class CheckpointRefused(Exception):
    """A file that cannot be read as a checkpoint. The text has the reason."""


class StandIn:
    """In the place of an object of a class that is not loaded."""

    def __new__(cls, *arguments: object, **keywords: object) -> "StandIn":  # noqa: ARG004
        """Accept whatever the file says."""
        return super().__new__(cls)

    def __init__(self, *arguments: object, **keywords: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


@dataclass(frozen=True)
class StoredCheckpoint:
    """The content of a file."""

    path: Path
    content: Mapping[str, Any]
    stand_ins: tuple[str, ...]
    """Names of the classes that were not loaded."""

    @property
    def epoch(self) -> int | None:
        """The epoch that the file states, or else the number in its name or its folder's."""
        for key in EPOCH_KEYS:
            value = self.content.get(key)
            if type(value) is int and value >= 0:
                return value
        state_path = self.path.parent / "trainer_state.json"  # of transformers
        if state_path.is_file():
            return round(float(json.loads(state_path.read_text())["epoch"]))
        for pattern in _EPOCH_NAMES:
            if number := pattern.search(self.path.stem):
                return int(number[1])
        match = re.fullmatch(r"checkpoint-(\d+)", self.path.parent.name)
        return int(match[1]) if match else None

    def state_dicts(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Each mapping of names to tensors, with its path in the file; the outermost first."""
        yield from _state_dicts(self.content, "", MAX_DEPTH)


@dataclass(frozen=True)
class FittingWeights:
    """Weights of a checkpoint that a network takes."""

    weights: dict[str, Tensor]
    location: str
    """Where in the file they are, and which prefix of their names was removed."""


def read_checkpoint(path: Path) -> StoredCheckpoint:
    """Read a file of torch or safetensors. Raises CheckpointRefused."""
    try:
        if path.suffix == ".safetensors":
            return StoredCheckpoint(path, safetensors.torch.load_file(path), ())
        content, stand_ins = _load(path)
    except CheckpointRefused:
        raise
    except Exception as error:  # a damaged file raises errors of many types
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointRefused(f"it cannot be read: {lines[0]}") from error
    if not isinstance(content, Mapping):
        raise CheckpointRefused(
            "it is a whole pickled module, of which nothing is loaded: save `module.state_dict()`"
            if isinstance(content, StandIn)
            else f"it contains a {type(content).__name__} instead of a dictionary"
        )
    return StoredCheckpoint(path, content, stand_ins)


def find_weights(checkpoint: StoredCheckpoint, network: Mapping[str, Tensor]) -> FittingWeights:
    """The weights in a checkpoint for a network's state dict. Raises CheckpointRefused.

    Names may have prefixes of wrappers, such as `module.` or `model.`.
    """
    reasons = []
    for location, state in checkpoint.state_dicts():
        for prefix in _prefixes(state):
            weights = {
                clean_name(name).removeprefix(prefix): tensor for name, tensor in state.items()
            }
            reason = _misfit(weights, network)
            if reason is None:
                fitting_weights = {name: weights[name] for name in network if name in weights}
                description = location or "the file itself"
                return FittingWeights(
                    fitting_weights, f"{description}, without `{prefix}`" if prefix else description
                )
            reasons.append((sum(name in weights for name in network), reason))
    if not reasons:
        raise CheckpointRefused("it contains no weights")
    # The reason of the candidate that fits best.
    raise CheckpointRefused(max(reasons, key=lambda entry: entry[0])[1])


def _load(path: Path) -> tuple[Any, tuple[str, ...]]:
    """The content of a file, and the names of the classes for which it has stand-ins."""
    names: list[str] = []
    while len(names) <= MAX_STAND_INS:
        stand_ins: list[Any] = [(type(name, (StandIn,), {}), name) for name in names]
        try:
            with torch.serialization.safe_globals(stand_ins):
                return torch.load(path, map_location="cpu", weights_only=True), tuple(names)
        except pickle.UnpicklingError as error:
            new_names = set(_refused_classes(path, error)) - set(names)
            if not new_names:
                raise
            names = sorted({*names, *new_names})
    raise CheckpointRefused(f"it contains objects of more than {MAX_STAND_INS} classes")


def _refused_classes(path: Path, error: pickle.UnpicklingError) -> list[str]:
    if zipfile.is_zipfile(path):
        return torch.serialization.get_unsafe_globals_in_checkpoint(path)
    # Of files before torch 1.6, torch names one class at a time, in its message.
    return re.findall(r"Unsupported global: GLOBAL (\S+) was not", str(error))


def _state_dicts(content: Any, path: str, depth: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    if not isinstance(content, Mapping):
        return
    tensors = {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if tensors:
        yield path, tensors
    if depth:
        for name, value in content.items():
            yield from _state_dicts(value, f"{path}.{name}" if path else str(name), depth - 1)


def _prefixes(state: Mapping[str, Tensor]) -> list[str]:
    """Prefixes that all names may have: none, or up to two first parts of the first name."""
    parts = clean_name(next(iter(state))).split(".")
    return ["", *(".".join(parts[:count]) + "." for count in (1, 2) if len(parts) > count)]


def _misfit(weights: Mapping[str, Tensor], network: Mapping[str, Tensor]) -> str | None:
    """Why weights do not fit a network; None if they do. The counter of batches may be missing."""
    for name, tensor in network.items():
        if name not in weights:
            if name.endswith("num_batches_tracked"):
                continue
            return f"it has no weight {name}"
        if weights[name].shape != tensor.shape:
            return (
                f"{name} has the shape {tuple(weights[name].shape)}, "
                f"and the network's {tuple(tensor.shape)}"
            )
    return None
