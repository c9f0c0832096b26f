"""LeNet-5 (LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document
Recognition", Proceedings of the IEEE, 1998, section II.B).
"""

from typing import Literal

from torch import nn

from service.core.models.architecture import minimum_side_reason
from service.core.models.stages import Convolution, StagedArchitecture, StagedNetwork
from service.core.models.table1 import ACTIVATIONS

FULL_SIDE = 32
"""Side of the images of 1998: digits of 28 pixels, centered on 32."""

POOLINGS: dict[str, type[nn.AvgPool2d] | type[nn.MaxPool2d]] = {
    "average": nn.AvgPool2d,
    "max": nn.MaxPool2d,
}


class LeNet5(StagedArchitecture):
    """LeNet-5 (LeCun et al. 1998): two convolutions, each with pooling, and three linear layers.

    Stages carry the names of the paper: C1 (6 channels, 5 x 5), S2, C3 (16 channels, 5 x 5), S4,
    C5 (120 units), F6 (84 units) and the output. Differences from 1998:

    - C1 and C3 end in ReLU, not in a scaled hyperbolic tangent: the maps start from activations
      >= 0. C5 and F6 have the activation of `hidden_activation`, unscaled.
    - S2 and S4 only pool; in 1998 each channel also had a trainable factor, a bias and a sigmoid.
    - Each map of C3 reads all six maps of S2. The table of connections of 1998 saved arithmetic
      and broke the symmetry of the maps, which random initialization does as well.
    - The output is linear with softmax and cross-entropy, in place of distances to fixed patterns
      of characters.
    - C5, a convolution over its whole input, is written as the linear layer that it is.
    - Images of less than 32 pixels are padded by 2 in C1, as the digits of 1998 stood on a larger
      background.
    """

    name: Literal["lenet5"] = "lenet5"
    pooling: Literal["average", "max"] = "average"
    """Pooling of S2 and S4. The network of 1998 averages."""
    hidden_activation: Literal["sigmoid", "relu", "tanh"] = "tanh"
    """Activation of C5 and F6. The network of 1998 has a scaled tanh."""

    def unfit_reason(self, image_shape: tuple[int, int, int]) -> str | None:
        """S4 has a position of images of 12 pixels, or more."""
        return minimum_side_reason(image_shape, 12)

    def build(self, image_shape: tuple[int, int, int], classes: int) -> StagedNetwork:
        """The network for images (D, H, W); raises ValueError for images too small for a map."""
        self.require_fit(image_shape)
        depth, *sides = image_shape
        padding = 2 if min(sides) < FULL_SIDE else 0
        height, width = (((side + 2 * padding - 4) // 2 - 4) // 2 for side in sides)
        pooling, activation = POOLINGS[self.pooling], ACTIVATIONS[self.hidden_activation]
        return StagedNetwork(
            {
                "c1": Convolution(depth, 6, 5, padding=padding),
                "s2": pooling(2),
                "c3": Convolution(6, 16, 5),
                "s4": pooling(2),
                "flatten": nn.Flatten(),
                "c5": nn.Linear(16 * height * width, 120),
                "c5_activation": activation(),
                "f6": nn.Linear(120, 84),
                "f6_activation": activation(),
                "output": nn.Linear(84, classes),
            }
        )
