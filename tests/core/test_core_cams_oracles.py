"""Maps of gradient methods computed by hand, on a linear head: G are its weights.

    A^0  1  2    A^1  2  0     The convolution is the identity, so A is the image.
         0  1         1  3     Sums over positions: 4 and 6.

Every unit is x_c = sum_kij G^k_ij A^k_ij without a bias:

    c   G^0        G^1        G^0 A^0    G^1 A^1      x_c    mean G^0, G^1
    0    1 -1       1  1       1 -2       2   0      1 - 12     1, -1
         2  2      -2 -4       0  2      -2 -12
    1    4  1       2 -2       4  2       4   0      0 + 0      1,  0
         5 -6       2 -2       0 -6       2  -6
    2    1  1       1  1       1  2       2   0      4 + 6      1,  1
         1  1       1  1       0  1       1   3
    3    4  2       0  0       4  4       0   0     12 + 0      3,  0
         2  4       0  0       0  4       0   0
"""

from math import log, sqrt

import numpy as np
import pytest
from torch import nn

from service.core.models.stages import Convolution, StagedNetwork
from tests.core.hand_computed import IDENTITY, A, approx_float32, maps_of, network_with_weights

G = [
    [[[1, -1], [2, 2]], [[1, 1], [-2, -4]]],
    [[[4, 1], [5, -6]], [[2, -2], [2, -2]]],
    [[[1, 1], [1, 1]], [[1, 1], [1, 1]]],
    [[[4, 2], [2, 4]], [[0, 0], [0, 0]]],
]
WEIGHTS = np.array(G, dtype=np.float32).reshape(4, 8).tolist()


@pytest.fixture(params=["closed form", "autograd"])
def network(request) -> StagedNetwork:
    """The same head twice: a leaky ReLU of slope 1 is the identity, but has no closed form here."""
    last = {"closed form": nn.Identity(), "autograd": nn.LeakyReLU(1.0)}[request.param]
    return network_with_weights(
        {
            "conv": Convolution(2, 2, 1),
            "flatten": nn.Flatten(),
            "last": last,
            "output": nn.Linear(8, 4),
        },
        {**IDENTITY, "output.weight": WEIGHTS, "output.bias": [0.0] * 4},
    )


def test_grad_cam(network):
    """sum_k mean(G^k) A^k. Selvaraju et al. 2017, equations 1 and 2.

    Class 0: A^0 - A^1; class 1: A^0; class 2: A^0 + A^1; class 3: 3 A^0.
    """
    assert maps_of(network, "grad-cam") == approx_float32(
        [[[-1, 2], [-1, -2]], [[1, 2], [0, 1]], [[3, 2], [1, 4]], [[3, 6], [0, 3]]]
    )


def test_grad_cam_plus_plus(network):
    """w_k = sum_ij ReLU(G) G^2 / (2 G^2 + G^3 sum_ab A_ab). Chattopadhay 2018, equations 10 and 19.

    A positive G adds G / (2 + 4 G) in channel 0 and G / (2 + 6 G) in channel 1:

        class 0: w_0 = 1/6 + 2/10 + 2/10 = 17/30, w_1 = 1/8 + 1/8 = 1/4
        class 3: w_0 = 2 (4/18 + 2/10) = 38/45,   w_1 = 0
    """
    assert maps_of(network, "grad-cam++", classes=[0, 3]) == approx_float32(
        [
            [[17 / 30 + 1 / 2, 17 / 15], [1 / 4, 17 / 30 + 3 / 4]],
            [[38 / 45, 76 / 45], [0, 38 / 45]],
        ]
    )


def test_smooth_grad_cam_plus_plus_ignores_noise_if_the_gradient_is_constant(network):
    """Omeiza et al. 2019, equations 4 to 6, with A of the clean image.

    The means over samples are G, G^2 and G^3 for any noise.
    """
    assert maps_of(network, "smooth-grad-cam++?samples=3", classes=[0]) == approx_float32(
        [[[17 / 30 + 1 / 2, 17 / 15], [1 / 4, 17 / 30 + 3 / 4]]]
    )


def test_x_grad_cam(network):
    """w_k = sum_ij(G^k A^k) / sum_ij A^k. Fu et al. 2020, equation 8.

    Class 0: 1/4 and -12/6; class 1: 0/4 and 0/6; class 2: 4/4 and 6/6; class 3: 12/4 and 0.
    """
    assert maps_of(network, "x-grad-cam") == approx_float32(
        [
            [[1 / 4 - 4, 1 / 2], [-2, 1 / 4 - 6]],
            [[0, 0], [0, 0]],
            [[3, 2], [1, 4]],
            [[3, 6], [0, 3]],
        ]
    )


def test_x_grad_cam_gives_no_weight_to_a_channel_of_zeros(network):
    # Channel 0 keeps its weight 1/4; the negative evidence of channel 1 is gone.
    image = A * np.array([1, 0], dtype=np.float32)[:, None, None]
    assert maps_of(network, "x-grad-cam", image, classes=[0]) == approx_float32(
        [[[1 / 4, 1 / 2], [0, 1 / 4]]]
    )


def test_hires_cam(network):
    """sum_k G^k A^k. Draelos and Carin 2020, equation 5. Sums to x_c: -11, 0, 10, 12."""
    maps = maps_of(network, "hires-cam")
    assert maps == approx_float32(
        [[[3, -2], [-2, -10]], [[8, 2], [2, -12]], [[3, 2], [1, 4]], [[4, 4], [0, 4]]]
    )
    assert maps.sum((1, 2)) == approx_float32([-11, 0, 10, 12])


@pytest.mark.parametrize("text", ["element-wise-grad-cam", "layer-cam"])
def test_only_positive_products_count_if_a_is_not_negative(network, text):
    # Class 0: channel 0 gives (1, 0, 0, 2), channel 1 (2, 0, 0, 0); class 1: (4, 2, 0, 0) and
    # (4, 0, 2, 0).
    assert maps_of(network, text, classes=[0, 1]) == approx_float32(
        [[[3, 0], [0, 2]], [[8, 2], [2, 0]]]
    )


def test_element_wise_and_layer_cam_differ_where_a_is_negative():
    """Element-wise: sum_k ReLU(G^k A^k). LayerCAM, Jiang et al. 2021, equations 5 and 6:
    sum_k ReLU(G^k) A^k.

    A convolution without ReLU, and A^1 by -1: G^1 A^1 of class 0 is (-2, 0, 2, 12).
    """
    network = network_with_weights(
        {"conv": nn.Conv2d(2, 2, 1), "flatten": nn.Flatten(), "output": nn.Linear(8, 4)},
        {**IDENTITY, "output.weight": WEIGHTS, "output.bias": [0.0] * 4},
    )
    image = A * np.array([1, -1], dtype=np.float32)[:, None, None]
    element_wise = maps_of(network, "element-wise-grad-cam", image, classes=[0])
    assert element_wise == approx_float32([[[1, 0], [2, 2 + 12]]])
    assert maps_of(network, "layer-cam", image, classes=[0]) == approx_float32(
        [[[1 - 2, 0], [0, 2]]]
    )


@pytest.mark.parametrize("classes", [[0, 1, 2, 3], [0]])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # |x_0 - x_j| = 11, 21, 23: nearest is 1. (1, -1) - 1 (1, 0) = (0, -1).
        ("finer-cam?gamma=1.0&references=1", [[-2, 0], [-1, -3]]),
        # Nearest are 1 and 2. (1, -1) - 1/4 ((1, 0) + (1, 1)) = (1/2, -5/4).
        ("finer-cam?gamma=0.5&references=2", [[-2, 1], [-5 / 4, -13 / 4]]),
        # All three other classes, gamma 3/5: (1, -1) - 1/5 (5, 1) = (0, -6/5).
        ("finer-cam", [[-12 / 5, 0], [-6 / 5, -18 / 5]]),
    ],
)
def test_finer_cam_of_class_0(network, classes, text, expected):
    """Grad-CAM of x_c - gamma mean_d x_d over the d with x_d nearest to x_c. Zhang 2025, eq. 5."""
    assert maps_of(network, text, classes=classes)[0] == approx_float32(expected)


def test_eigen_grad_cam(network):
    """The projection of G A on its first principal component (pytorch-grad-cam's EigenGradCAM).

    Class 1: both channels of G A have the mean 0 and sum of squares 56, their products sum to
    4 4 + 6 6 = 52, so v_1 = (1, 1) / sqrt 2. Class 3: channel 1 is 0, so v_1 = (1, 0), and the
    map is (4, 4, 0, 4) minus its mean 3. The sign is that of hires-cam's map.
    """
    class_1, class_3 = maps_of(network, "eigen-grad-cam", classes=[1, 3])
    assert class_1 * sqrt(2) == approx_float32([[8, 2], [2, -12]])
    assert class_3 == approx_float32([[1, 1], [-3, 1]])


def test_seg_eigen_cam(network):
    """The projection of |G| A, its largest absolute value positive. Chung and Ying 2025, eq. 10-13.

    Class 1: |G| A = (4, 2, 0, 6) and (4, 0, 2, 6), minus 3 each: (1, -1, -3, 3), (1, -3, -1, 3);
    squares 20, products 1 + 3 + 3 + 9 = 16, v_1 = (1, 1) / sqrt 2.
    Class 3: (1, 1, -3, 1) as above, negated, because -3 has the largest absolute value.
    """
    class_1, class_3 = maps_of(network, "seg-eigen-cam", classes=[1, 3])
    assert class_1 * sqrt(2) == approx_float32([[2, -4], [-4, 6]])
    assert class_3 == approx_float32([[-1, -1], [3, -1]])


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        # From the hires-cam maps above, whose mean is (9/2, 3/2, 1/4, -7/2).
        ("centered", [[-3 / 2, -7 / 2], [-9 / 4, -13 / 2]]),
        ("margin", [[3 - 4, -2 - 4], [-2 - 0, -10 - 4]]),  # the strongest other class is 3
        ("contrast:2", [[3 - 3, -2 - 2], [-2 - 1, -10 - 4]]),
    ],
)
def test_target_that_is_linear_in_the_units_combines_their_maps(network, target, expected):
    assert maps_of(network, f"hires-cam/{target}", classes=[0])[0] == approx_float32(expected)


def test_saturating_target_scales_the_maps():
    """x = (ln 3, 0), with biases: p = (3/4, 1/4). D = G_0 - G_1 of those classes, D A = hires-cam's
    (3 - 8, -2 - 2, -2 - 2, -10 + 12).

    softmax: p_0 p_1 D = 3/16 D; log-softmax: p_1 D = D / 4.
    """
    network = network_with_weights(
        {"conv": Convolution(2, 2, 1), "flatten": nn.Flatten(), "output": nn.Linear(8, 2)},
        {**IDENTITY, "output.weight": WEIGHTS[:2], "output.bias": [log(3) + 11, 0.0]},
    )
    difference = np.array([[-5, -4], [-4, 2]])
    by_softmax = maps_of(network, "hires-cam/softmax")
    assert by_softmax == approx_float32([3 / 16 * difference, -3 / 16 * difference])
    by_logarithm = maps_of(network, "hires-cam/log-softmax")
    assert by_logarithm == approx_float32([difference / 4, -3 / 4 * difference])
