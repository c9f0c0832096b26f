"""Weights that training starts from: torchvision's own, or a file in the data directory."""

import pickle
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from service.errors import WeightsUnavailable

DOWNLOAD_TIMEOUT_SECONDS = 30.0
"""How long a download may wait for data."""

WHERE = "in the data directory (CAMREEL_DATA_DIR)"

MAX_LISTED_TENSORS = 5
"""In an error message."""

NESTED_KEYS = ("state_dict", "model")
"""Where the files of training scripts have the weights, beside other values."""


def read_torchvision_weights(name: str, folder: Path | None) -> dict[str, Tensor]:
    """torchvision's default weights of a classifier, downloaded into `folder` once.

    Without a folder, torch's own cache is used. Raises WeightsUnavailable.
    """
    from torchvision.models import get_model_weights

    weights = get_model_weights(name).DEFAULT
    try:
        with _limited_waiting():
            tensors: dict[str, Tensor] = weights.get_state_dict(
                model_dir=folder, progress=False, check_hash=True, weights_only=True
            )
    except (OSError, RuntimeError, HTTPException, pickle.UnpicklingError) as error:
        raise WeightsUnavailable(
            f"torchvision's weights of {name} cannot be downloaded. Copy {weights.url} to "
            f"weights/ {WHERE}."
        ) from error
    return {_current_name(key): tensor for key, tensor in tensors.items()}


def _current_name(name: str) -> str:
    """The name of a tensor of DenseNet today: older files have `norm.1` in place of `norm1`."""
    return re.sub(r"(\.denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", name)


def read_weights_file(name: str, folder: Path | None) -> dict[str, Tensor]:
    """The tensors of a file of weights: safetensors, or a state dict that `torch.save` wrote.

    Nothing but tensors and plain values is unpickled. Raises WeightsUnavailable.
    """
    path = None if folder is None else folder / name
    if path is None or not path.is_file():
        raise WeightsUnavailable(f"The file {name} is missing: put it in weights/ {WHERE}.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        values = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError) as error:
        raise WeightsUnavailable(f"The file {name} is damaged.") from error
    except pickle.UnpicklingError as error:
        raise WeightsUnavailable(f"The file {name} has other content than weights.") from error
    for key in NESTED_KEYS:
        if isinstance(values, dict) and isinstance(values.get(key), dict):
            values = values[key]
    if not isinstance(values, dict) or not all(isinstance(v, Tensor) for v in values.values()):
        raise WeightsUnavailable(f"The file {name} is not a state dict: tensors by name.")
    return values


def load_tensors(
    network: nn.Module, tensors: Mapping[str, Tensor], optional_prefixes: tuple[str, ...]
) -> None:
    """Copy the tensors into the network.

    Those with an optional prefix are left out where the network has none of that name and shape;
    counts of batches may be missing. Raises WeightsUnavailable if others differ from the network's.
    """
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    differing = [
        name
        for name in sorted(expected.keys() | shapes.keys())
        if expected.get(name) != shapes.get(name)
    ]
    required = [
        name
        for name in differing
        if not name.startswith(optional_prefixes) and not name.endswith(".num_batches_tracked")
    ]
    if required:
        names = ", ".join(required[:MAX_LISTED_TENSORS])
        ellipsis = ", ..." if len(required) > MAX_LISTED_TENSORS else ""
        raise WeightsUnavailable(
            f"The weights are those of another network or image size. Names or shapes differ: "
            f"{names}{ellipsis}."
        )
    matching = {name: tensor for name, tensor in tensors.items() if name not in differing}
    network.load_state_dict(matching, strict=False)


@contextmanager
def _limited_waiting() -> Iterator[None]:
    """A context in which downloads wait for data a limited time: torch's own wait forever."""
    previous_timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous_timeout)
