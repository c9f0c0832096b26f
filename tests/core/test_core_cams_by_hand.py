"""Maps of both of the paper's methods, computed by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from service.core.cams.layer_pass import run_to_layer
from service.core.cams.maps import class_maps
from service.core.models.stages import Convolution, StagedNetwork

# The convolution has one kernel, [1], so A is the image after ReLU:
#
#     image  1  2     A  1  2
#           -5  3        0  3
IMAGE = torch.tensor([[[[1.0, 2.0], [-5.0, 3.0]]]])
A = np.array([[1.0, 2.0], [0.0, 3.0]])

# Max pooling gives 3; hidden units z = (1, -1) * 3, after ReLU (3, 0), so only the first has a
# gradient. The units' weights for it are 2 and -1; biases move x from (6, -3) to (ln 3, 0).
#
#     alpha_0 = 1/4 * 2 * 1 =  1/2     map of x_0 =  A / 2
#     alpha_1 = 1/4 * -1 * 1 = -1/4    map of x_1 = -A / 4
UNIT_MAPS = np.stack([A / 2, -A / 4])


def network(output_activation: str) -> StagedNetwork:
    staged = StagedNetwork(
        {
            "conv": Convolution(1, 1, 1),
            "pool": nn.MaxPool2d(2),
            "flatten": nn.Flatten(),
            "hidden": nn.Linear(1, 2),
            "activation": nn.ReLU(),
            "output": nn.Linear(2, 2),
        },
        output_activation=output_activation,
    )
    values = {
        "conv.weight": [[[[1.0]]]],
        "conv.bias": [0.0],
        "hidden.weight": [[1.0], [-1.0]],
        "hidden.bias": [0.0, 0.0],
        "output.weight": [[2.0, 5.0], [-1.0, 7.0]],
        "output.bias": [math.log(3) - 6, 3.0],
    }
    staged.load_state_dict({name: torch.tensor(value) for name, value in values.items()})
    return staged.eval()


@pytest.mark.parametrize("output_activation", ["identity", "sigmoid"])
def test_channel_weights_of_the_units(output_activation):
    result = run_to_layer(network(output_activation), IMAGE, "conv")
    assert torch.allclose(result.pre_activations, torch.tensor([[math.log(3), 0.0]]), atol=1e-6)
    assert torch.allclose(result.channel_weights, torch.tensor([[[0.5], [-0.25]]]))


@pytest.mark.parametrize("output_activation", ["identity", "sigmoid"])
def test_proposed_map(output_activation):
    ours = class_maps(network(output_activation), IMAGE, "conv", ["proposed"])
    assert np.allclose(ours.signed["proposed"][0], UNIT_MAPS)
    assert np.allclose(ours.class_map("proposed", 0, 0).values, A / 2)
    assert np.array_equal(ours.class_map("proposed", 0, 1).values, np.zeros((2, 2)))


def test_conventional_map_with_softmax():
    # p = softmax(ln 3, 0) = (3/4, 1/4); d p_0 / d x = (3/16, -3/16) = -d p_1 / d x.
    ours = class_maps(network("identity"), IMAGE, "conv", ["conventional"])
    expected = 3 / 16 * (A / 2) - 3 / 16 * (-A / 4)  # 9/64 A
    assert np.allclose(ours.probabilities, [[3 / 4, 1 / 4]])
    assert np.allclose(ours.signed["conventional"][0], [expected, -expected], rtol=1e-5)


def test_conventional_map_with_sigmoid_and_softmax():
    # s(ln 3) = 3/4 and s(0) = 1/2, with derivatives 3/16 and 1/4; p_0 = 1 / (1 + e^(1/2 - 3/4)).
    p = 1 / (1 + math.exp(-1 / 4))
    ours = class_maps(network("sigmoid"), IMAGE, "conv", ["conventional"])
    expected = p * (1 - p) * (3 / 16 * (A / 2) - 1 / 4 * (-A / 4))
    assert np.allclose(ours.probabilities, [[p, 1 - p]])
    assert np.allclose(ours.signed["conventional"][0], [expected, -expected], rtol=1e-5)


def test_peak_minimum_and_activation_peak_of_a_map():
    ours = class_maps(network("identity"), IMAGE, "conv", ["proposed"])
    positive_map, negative_map = (ours.class_map("proposed", 0, c) for c in (0, 1))
    assert (positive_map.peak, positive_map.minimum, positive_map.activation_peak) == (
        1.5,
        0.0,
        3.0,
    )
    assert (negative_map.peak, negative_map.minimum, negative_map.activation_peak) == (
        0.0,
        -0.75,
        3.0,
    )


def test_head_without_closed_form():
    # Flatten and one linear layer: x_0 sums the diagonal of A, x_1 twice its upper row.
    staged = StagedNetwork(
        {"conv": Convolution(1, 1, 1), "flatten": nn.Flatten(), "output": nn.Linear(4, 2)}
    )
    values = {
        "conv.weight": [[[[1.0]]]],
        "conv.bias": [0.0],
        "output.weight": [[1.0, 0.0, 0.0, 1.0], [2.0, 2.0, 0.0, 0.0]],
        "output.bias": [0.0, 0.0],
    }
    staged.load_state_dict({name: torch.tensor(value) for name, value in values.items()})
    result = run_to_layer(staged.eval(), IMAGE, "conv")
    assert result.pre_activations.tolist() == [[4.0, 6.0]]
    assert result.channel_weights.tolist() == [[[2 / 4], [4 / 4]]]
