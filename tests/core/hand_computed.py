"""An image of eight small integers and networks with given weights, for maps computed by hand."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from torch import nn

from service.core.cams.maps import class_maps
from service.core.models.stages import Convolution, StagedNetwork

A = np.array([[[1, 2], [0, 1]], [[2, 0], [1, 3]]], dtype=np.float32)
IDENTITY = {"conv.weight": [[[[1.0]], [[0.0]]], [[[0.0]], [[1.0]]]], "conv.bias": [0.0, 0.0]}
"""Weights of a convolution `conv` whose output is its input."""


def network_with_weights(
    stages: dict[str, nn.Module], values: Mapping[str, object]
) -> StagedNetwork:
    network = StagedNetwork(stages)
    network.load_state_dict({name: torch.tensor(value) for name, value in values.items()})
    return network.eval()


def pooling_network(pooling: nn.Module, weights: list[list[float]]) -> StagedNetwork:
    """W P + 5 of the two pooling_network channels P."""
    return network_with_weights(
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
    """Maps (C, H, W) of one image before their last ReLU."""
    result = class_maps(network, torch.from_numpy(image)[None], layer, [text], classes)
    return result.signed[text][0]


def approx_float32(expected: object) -> object:
    """Equal to these numbers within the precision of float32."""
    return pytest.approx(np.array(expected), rel=1e-6, abs=1e-6)
