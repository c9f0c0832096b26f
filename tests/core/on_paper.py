"""What the oracles share: an image of eight small integers, and networks made of given numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from torch import nn

from service.core.cams.maps import class_maps
from service.core.models.stages import Convolution, StagedNetwork

A = np.array([[[1, 2], [0, 1]], [[2, 0], [1, 3]]], dtype=np.float32)
IDENTITY = {"conv.weight": [[[[1.0]], [[0.0]]], [[[0.0]], [[1.0]]]], "conv.bias": [0.0, 0.0]}
"""Of a convolution `conv` whose output is its input."""


def of_numbers(stages: dict[str, nn.Module], values: Mapping[str, object]) -> StagedNetwork:
    network = StagedNetwork(stages)
    network.load_state_dict({name: torch.tensor(value) for name, value in values.items()})
    return network.eval()


def pooled(pooling: nn.Module, weights: list[list[float]]) -> StagedNetwork:
    """W P + 5 of the two pooled channels P."""
    return of_numbers(
        {
            "conv": Convolution(2, 2, 1),
            "pool": pooling,
            "flatten": nn.Flatten(),
            "output": nn.Linear(2, len(weights)),
        },
        {**IDENTITY, "output.weight": weights, "output.bias": [5.0] * len(weights)},
    )


def maps_of(
    network: StagedNetwork,
    text: str,
    image: np.ndarray = A,
    layer: str = "conv",
    classes: Sequence[int] | None = None,
) -> np.ndarray:
    """Maps of one image before their last ReLU (c, H, W)."""
    result = class_maps(network, torch.from_numpy(image)[None], layer, [text], classes)
    return result.signed[text][0]


def worked_out(expected: object) -> object:
    """Equal to these numbers, as far as float32 can be."""
    return pytest.approx(np.array(expected), rel=1e-6, abs=1e-6)
