"""Maps keep their precision when softmax saturates, where float32 autograd loses it."""

import copy

import numpy as np
import pytest
import torch

from service.core.cams.closed_form import DERIVATIVES
from service.core.cams.maps import class_maps

# exp(-19) is 6e-9: less than half of float32's spacing below 1, but representable in float64.
GAP = 19.0


@pytest.fixture
def saturated_network(learned, images):
    """A network whose probability for the first image rounds to 1 in float32."""
    network = copy.deepcopy(learned("identity"))
    with torch.no_grad():
        first, second = network(images[:1])[0].topk(2).values
        for tensor in (network.output.weight, network.output.bias):
            tensor.mul_(GAP / (first - second))
    return network


def test_conventional_map_keeps_its_precision_if_the_probability_rounds_to_1(
    saturated_network, captum_maps, images
):
    result = class_maps(saturated_network, images[:1], "conv2", ["conventional"])
    predicted_class = int(result.probabilities[0].argmax())
    assert result.probabilities[0, predicted_class] == 1.0

    ours = result.signed["conventional"][0, predicted_class]
    exact = captum_maps(saturated_network, images[:1], "conv2", "conventional")[0, predicted_class]
    lossy = captum_maps(saturated_network, images[:1], "conv2", "conventional", torch.float32)[
        0, predicted_class
    ]
    peak = np.abs(exact).max()

    assert 0 < peak < 1e-6
    assert np.abs(ours - exact).max() <= 1e-4 * peak
    assert np.abs(lossy - exact).max() > 0.1 * peak


@pytest.mark.parametrize("activation", DERIVATIVES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("z", [-30.0, -12.0, -3.0, 0.5, 3.0, 12.0, 30.0])
def test_derivatives_keep_their_precision_where_the_activation_is_flat(activation, z):
    pre_activation = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    # 1 - tanh(z)^2 in float64 is 0 at 30; sech(z)^2 is the same function.
    if activation is torch.nn.Tanh:
        theirs = torch.cosh(pre_activation) ** -2
    elif activation is torch.nn.Sigmoid:
        theirs = 0.25 * torch.cosh(pre_activation / 2) ** -2
    else:
        (theirs,) = torch.autograd.grad(activation()(pre_activation), pre_activation)
    ours = DERIVATIVES[activation](torch.tensor(z))
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5, abs=0)
