"""Maps computed by hand, on nonlinear heads and on pooling heads.

A^0  1  2    A^1  2  0    h^0  1  1    h^1  0 -4    h A   1  2    sum of h A: 5
     0  1         1  3         0  0        -1  1         -1  3    mean of h: 1/2, -1
"""

from collections.abc import Callable
from math import log

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from service.core.cams.passes import normal_noise
from service.core.models.stages import Convolution, StagedNetwork
from tests.core.hand_computed import (
    IDENTITY,
    A,
    approx_float32,
    maps_of,
    network_with_weights,
    pooling_network,
)

H = np.array([[[1, 1], [0, 0]], [[0, -4], [-1, 1]]], dtype=np.float32)
H_A = np.array([[1, 2], [-1, 3]])
ROW = H.reshape(1, 8).tolist()
ROWS_OF_TWO = [ROW[0], [0.0] * 8]


class Square(nn.Module):
    def forward(self, signal: Tensor) -> Tensor:
        return signal.square()


def rectified(activation: nn.Module) -> StagedNetwork:
    """x_0 = ReLU(h A - 2) + 7 and x_1 = 3 ReLU(h A - 2) + 7."""
    return network_with_weights(
        {
            "conv": Convolution(2, 2, 1),
            "flatten": nn.Flatten(),
            "hidden": nn.Linear(8, 1),
            "activation": activation,
            "output": nn.Linear(1, 2),
        },
        {
            **IDENTITY,
            "hidden.weight": ROW,
            "hidden.bias": [-2.0],
            "output.weight": [[1.0], [3.0]],
            "output.bias": [7.0, 7.0],
        },
    )


def linear(weights: list, biases: list, *modules: nn.Module, rectify: bool = True) -> StagedNetwork:
    stages = {
        "conv": Convolution(2, 2, 1) if rectify else nn.Conv2d(2, 2, 1),
        "flatten": nn.Flatten(),
        "output": nn.Linear(8, len(biases)),
    }
    stages |= {f"module{i}": module for i, module in enumerate(modules)}
    return network_with_weights(
        stages, {**IDENTITY, "output.weight": weights, "output.bias": biases}
    )


# --- integrated gradients: sum_k A^k int_0^1 G^k(t A) dt. Sundararajan et al. 2017, equation 1


# A leaky ReLU of slope 0 is a ReLU, but has no closed form here.
@pytest.mark.parametrize("activation", [nn.ReLU, lambda: nn.LeakyReLU(0.0)])
@pytest.mark.parametrize(
    ("steps", "active_share"),
    [
        (4, 2 / 4),  # at t = 1/8, 3/8, 5/8, 7/8
        (5, 3 / 5),  # at t = 1/10, 3/10, 5/10, 7/10, 9/10: the exact integral
    ],
)
def test_midpoint_rule_counts_the_steps_at_which_the_unit_is_active(
    activation: Callable[[], nn.Module], steps, active_share
):
    """The hidden unit is 5 t - 2 along the path: active, with gradient h, from t = 2/5 on."""
    network = rectified(activation())
    text = f"layer-integrated-gradients/unit?steps={steps}"
    maps = maps_of(network, text)
    assert maps == approx_float32([active_share * H_A, 3 * active_share * H_A])
    if active_share == 3 / 5:  # completeness: the layer adds 3 to x_0 and 9 to x_1
        assert maps.sum((1, 2)) == approx_float32([3, 9])
    # The default target is x_c - mean x: -1 and 1 times the map of the unit.
    centered = maps_of(network, f"layer-integrated-gradients?steps={steps}")
    assert centered == approx_float32([-active_share * H_A, active_share * H_A])


def test_target_is_evaluated_at_each_point_of_the_path():
    """x = (2 ln 3 t, 0). At the one point t = 1/2, p = (3/4, 1/4), so G = 3/16 d x_0 / d A.

    At t = 1, p would be (9/10, 1/10), and G = 9/100 d x_0 / d A.
    """
    scale = 2 * log(3) / 5
    network = linear((scale * np.array(ROWS_OF_TWO)).tolist(), [0.0, 0.0])
    maps = maps_of(network, "layer-integrated-gradients/softmax?steps=1")
    expected = 3 / 16 * scale * H_A
    assert maps == approx_float32([expected, -expected])


# --- a score that is a square: x = (h A)^2 = 25, G = 2 (h A) h = 10 h, its Hessian 2 h h^T


@pytest.mark.parametrize(
    ("text", "layer", "expected"),
    [
        ("hires-cam", "conv", 10 * H_A),
        # G(t A) = 10 t h, and the midpoint rule is exact for linear functions: the map sums to 25.
        ("layer-integrated-gradients/unit?steps=3", "conv", 5 * H_A),
        ("integrated-gradients?steps=3", "input", 5 * H_A),
        # mean(10 h) = (5, -10).
        ("grad-cam", "conv", 5 * A[0] - 10 * A[1]),
        # Cai 2025, equation 12: G - H A / 2 = 10 h - 2 h (h A) / 2 = 5 h.
        ("shapley-cam", "conv", [[5 / 2 - 10, 5], [-5, 5 / 2 - 15]]),
    ],
)
def test_quadratic_score(text, layer, expected):
    network = linear(ROW, [0.0], Square())
    assert maps_of(network, text, layer=layer)[0] == approx_float32(expected)


def test_shapley_cam_corrects_for_the_curvature_of_softmax():
    """x = (h A - 5 + ln 3, 0), so p = (3/4, 1/4). The score p_0 has G = p_0 p_1 h = 3/16 h and

        H A = p_0 p_1 (1 - 2 p_0) h (h A) = 3/16 (-1/2) 5 h = -15/32 h,

    so w = mean(h) (3/16 + 15/64) = 27/64 (1/2, -1); p_1 = 1 - p_0 has its negative. For the unit
    itself, which is linear, w = (1/2, -1) as for Grad-CAM.
    """
    network = linear(ROWS_OF_TWO, [log(3) - 5, 0.0])
    unit = np.array([[1 / 2 - 2, 1], [-1, 1 / 2 - 3]])
    softmax = maps_of(network, "shapley-cam/softmax")
    assert softmax == approx_float32([27 / 64 * unit, -27 / 64 * unit])
    assert maps_of(network, "shapley-cam") == approx_float32([unit, 0 * unit])


def test_smooth_grad_cam_plus_plus_averages_each_power_of_the_gradient():
    """Omeiza et al. 2019, equations 4 to 6. x = 2 z if z = h A - 5 > 0, else z.

    The clean image has z = 0, so noise d gives G = 2 h if h d > 0, else h. With one sample
    of each, the means are D1 = 3/2 h, D2 = 5/2 h^2, D3 = 9/2 h^3, and a positive h = 1 adds

        D1 D2 / (2 D2 + S D3) = 15/4 / (5 + 9/2 S):  S = 4: 15/92, twice; S = 6: 15/128, once.
    """
    network = linear(ROW, [-5.0], nn.LeakyReLU(1 / 2), rectify=False)
    network.add_module("twice", nn.Linear(1, 1))
    network.twice.load_state_dict({"weight": torch.tensor([[2.0]]), "bias": torch.zeros(1)})
    image = torch.from_numpy(A)[None]

    def has_one_of_each(seed: int) -> bool:
        first, second = (normal_noise(image, 2, A.shape, seed).numpy() * H).sum((1, 2, 3, 4)) > 0
        return first != second

    seed = next(seed for seed in range(100) if has_one_of_each(seed))
    maps = maps_of(network, f"smooth-grad-cam++?samples=2&seed={seed}")
    assert maps[0] == approx_float32(15 / 46 * A[0] + 15 / 128 * A[1])


# --- pooling heads


def test_class_activation_mapping():
    """sum_k W_ck A^k behind global average pooling. Zhou et al. 2016, equation 2.

    W = (2, -1), (0, 3): 2 A^0 - A^1 and 3 A^1. G is W / 4 everywhere, Z being 4.
    """
    network = pooling_network(nn.AdaptiveAvgPool2d(1), [[2.0, -1.0], [0.0, 3.0]])
    expected = np.array([[[0, 4], [-1, -1]], [[6, 0], [3, 9]]])
    assert maps_of(network, "cam") == approx_float32(expected)
    assert maps_of(network, "grad-cam") == approx_float32(expected / 4)
    assert maps_of(network, "hires-cam") == approx_float32(expected / 4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("grad-cam", [[1 / 4, 3 / 2], [-1 / 4, 0]]),  # 3/4 A^0 - 1/4 A^1
        ("hires-cam", [[0, 6], [0, -3]]),  # 3 2 and -1 3
        ("layer-cam", [[0, 6], [0, 0]]),
        ("x-grad-cam", [[1 / 2, 3], [-1 / 2, 0]]),  # w = 6/4, -3/6
        ("grad-cam++", [[3 / 14, 3 / 7], [0, 3 / 14]]),  # w = 3 / (2 + 4 3), 0
    ],
)
def test_only_the_largest_position_has_a_gradient_before_max_pooling(text, expected):
    """P = (2, 3) and x = 3 P_0 - P_1 + 5: G^0 is 3 at position 1, G^1 is -1 at position 3."""
    assert maps_of(pooling_network(nn.MaxPool2d(2), [[3.0, -1.0]]), text)[0] == approx_float32(
        expected
    )
