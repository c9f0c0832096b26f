"""Maps of several layers and of pixels, computed by hand.

A^0  1  2    A^1  2  0    h^0  1  1    h^1  0 -4
     0  1         1  3         0  0        -1  1
"""

import numpy as np
import pytest
from torch import nn

from service.core.models.stages import Convolution, StagedNetwork
from tests.core.hand_computed import (
    IDENTITY,
    approx_float32,
    maps_of,
    network_with_weights,
    pooling_network,
)

ROW = [1.0, 1.0, 0.0, 0.0, 0.0, -4.0, -1.0, 1.0]


# --- several layers


def test_several_layers_are_scaled_to_their_peaks_and_averaged():
    """HiResCAM of `conv` is (0, 6, 0, -3) / 6; of the one position of `pool` (6 - 3) / 3 = 1."""
    network = pooling_network(nn.MaxPool2d(2), [[3.0, -1.0]])
    maps = maps_of(network, "hires-cam", layer="conv,pool")
    assert maps[0] == approx_float32([[1 / 2, 1], [1 / 2, (1 - 1 / 2) / 2]])


def test_coarse_layer_is_interpolated_at_the_positions_of_the_fine_layer():
    """Pooled positions are centered on columns 1/2 and 5/2, so (-1, 1) is interpolated at columns
    0 to 3 as -1, -3/4 + 1/4, -1/4 + 3/4, 1; in both rows.

        X  1 0 0 4    P = (2, 4), x = -2 P_0 + P_1. HiResCAM of X: -4 at the 2 and 4 at the 4,
           0 2 0 0    scaled -1 and 1; of P: (-4, 4), scaled (-1, 1).
    """
    network = network_with_weights(
        {
            "conv": Convolution(1, 1, 1),
            "pool": nn.MaxPool2d(2),
            "flatten": nn.Flatten(),
            "output": nn.Linear(2, 1),
        },
        {
            "conv.weight": [[[[1.0]]]],
            "conv.bias": [0.0],
            "output.weight": [[-2.0, 1.0]],
            "output.bias": [0.0],
        },
    )
    image = np.array([[[1, 0, 0, 4], [0, 2, 0, 0]]], dtype=np.float32)
    maps = maps_of(network, "hires-cam", image, "conv,pool")
    assert maps[0] == approx_float32([[-1 / 2, -1 / 4, 1 / 4, 1], [-1 / 2, -3 / 4, 1 / 4, 1 / 2]])


def below_a_convolution(weights: list[float]) -> StagedNetwork:
    """A linear head on B^0 = A^0 + A^1 = (3, 2, 1, 4) and B^1 = A^1 = (2, 0, 1, 3)."""
    return network_with_weights(
        {
            "conv": Convolution(2, 2, 1),
            "conv2": Convolution(2, 2, 1),
            "flatten": nn.Flatten(),
            "output": nn.Linear(8, 1),
        },
        {
            **IDENTITY,
            "conv2.weight": [[[[1.0]], [[1.0]]], [[[0.0]], [[1.0]]]],
            "conv2.bias": [0.0, 0.0],
            "output.weight": [weights],
            "output.bias": [0.0],
        },
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("grad-cam", [[1 / 2 + 3 / 2, 1], [3 / 4, 1 / 2 + 9 / 4]]),  # 1/2 A^0 + 3/4 A^1
        ("hires-cam", [[1 + 2, 0], [1, 1 + 3]]),
    ],
)
def test_gradient_passes_through_relu_and_weights_of_the_next_convolution(text, expected):
    """G_B = (1, 0, 0, 1), (0, 5, 1, 0), where the 5 is blocked, because B^1 is 0 there. Then
    G_A^0 = G_B^0 = (1, 0, 0, 1) and G_A^1 = G_B^0 + G_B^1 = (1, 0, 1, 1).
    """
    network = below_a_convolution([1.0, 0.0, 0.0, 1.0, 0.0, 5.0, 1.0, 0.0])
    assert maps_of(network, text)[0] == approx_float32(expected)


def test_refine_cam():
    """prod_l of the layers' Grad-CAM++ maps, each from 0 to 1. arXiv:2605.14641.

    G_B = (1, 0, 0, 1), (0, 0, 1, 0), and as above G_A = (1, 0, 0, 1), (1, 0, 1, 1). G is 0
    or 1, so w = sum_ij G / (2 + sum_ab) over the channel's sums, 10 and 6 of B, 4 and 6 of A:

        B: w = 2/12, 1/8;  24 L = 4 B^0 + 3 B^1 = (18, 8, 7, 25), scaled (11, 1, 0, 18) / 18
        A: w = 2/6, 3/8;   24 L = 8 A^0 + 9 A^1 = (26, 16, 9, 35), scaled (17, 7, 0, 26) / 26
    """
    network = below_a_convolution([1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0])
    maps = maps_of(network, "refine-cam", layer="conv,conv2")
    assert maps[0] == approx_float32([[11 * 17 / 468, 1 * 7 / 468], [0, 1]])


# --- pixels


def test_full_grad_adds_the_parts_of_pixels_biases_and_normalization():
    """|G X| and |b G|, each channel from 0 to 1. Srinivas and Fleuret 2019, proposition 1.

    x = G^0 N^0 + G^1 N^1, G^0 = (1, -1, 2, 2) and G^1 = (1, 1, -2, -4), after a convolution with
    biases (1, 0) and a normalization by 6 / sqrt(1 + 3) = 3 and 3 / sqrt(6 + 3) = 1 that adds
    1 - 3 1 = -2 and 2 - 1 2 = 0.

        pixels         3 G^0 X^0 = (3, -6, 0, 6): (3, 6, 0, 6) / 6
                       G^1 X^1 = (2, 0, -2, -12): (1, 0, 1, 6) / 6
        convolution    1 3 G^0, absolute (3, 3, 6, 6): (0, 0, 1, 1)
        normalization  -2 G^0, absolute (2, 2, 4, 4): (0, 0, 1, 1)
    """
    network = network_with_weights(
        {
            "conv": nn.Conv2d(2, 2, 1),
            "norm": nn.BatchNorm2d(2, eps=3.0),
            "flatten": nn.Flatten(),
            "output": nn.Linear(8, 1),
        },
        {
            **IDENTITY,
            "conv.bias": [1.0, 0.0],
            "norm.running_mean": [1.0, 2.0],
            "norm.running_var": [1.0, 6.0],
            "norm.weight": [6.0, 3.0],
            "norm.bias": [1.0, 2.0],
            "norm.num_batches_tracked": 1,
            "output.weight": [[1.0, -1.0, 2.0, 2.0, 1.0, 1.0, -2.0, -4.0]],
            "output.bias": [0.0],
        },
    )
    maps = maps_of(network, "full-grad", layer="input")
    assert maps[0] == approx_float32([[4 / 6, 6 / 6], [1 / 6 + 2, 12 / 6 + 2]])


def test_smooth_grad_is_the_gradient_if_the_gradient_is_constant():
    """x = h X, so G is h at every noisy image too; summed over colors h^0 + h^1.

    Smilkov et al. 2017, section 3.
    """
    network = network_with_weights(
        {"conv": nn.Conv2d(2, 2, 1), "flatten": nn.Flatten(), "output": nn.Linear(8, 1)},
        {**IDENTITY, "output.weight": [ROW], "output.bias": [0.0]},
    )
    maps = maps_of(network, "smooth-grad?samples=3", layer="input")
    assert maps[0] == approx_float32([[1, -3], [-1, 1]])


def test_guided_backpropagation_passes_only_positive_gradients_through_relus():
    """x = 2 ReLU(h A) - ReLU(sum of A). Springenberg et al. 2014.

    Here h^0 is 5 where A^0 is 0. The second unit's -1 is blocked. Of 2 h = (2, 2, 10, 0),
    (0, -8, -2, 2), positive values pass where A > 0: (2, 2, 0, 0) + (0, 0, 0, 2).
    """
    network = network_with_weights(
        {
            "conv": Convolution(2, 2, 1),
            "flatten": nn.Flatten(),
            "hidden": nn.Linear(8, 2),
            "activation": nn.ReLU(),
            "output": nn.Linear(2, 1),
        },
        {
            **IDENTITY,
            "hidden.weight": [[1.0, 1.0, 5.0, *ROW[3:]], [1.0] * 8],
            "hidden.bias": [0.0, 0.0],
            "output.weight": [[2.0, -1.0]],
            "output.bias": [0.0],
        },
    )
    assert maps_of(network, "guided-backpropagation", layer="input")[0] == approx_float32(
        [[2, 2], [0, 2]]
    )
