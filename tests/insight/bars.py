"""Images of bars, and a linear network whose use of a mark is known exactly."""

from collections.abc import Callable

import torch
from torch import Tensor

SIDE, CLASSES, PER_CLASS = 16, 3, 6
BAR_WEIGHT, MARK_WEIGHT = 1.0, 1.5
TOPS = (4, 7, 10)
"""First of the two rows of each class's bar."""

MARK_SHARE = 0.5
"""S of class 0: (2 b / 3) / (a + 2 b / 3) with a = BAR_WEIGHT, b = MARK_WEIGHT.

u_0 of an image of class a is -a/3, that of class 0 with its mark 2 (a + b) / 3: they differ by
a + 2b/3. The mark adds 2b/3 to u_0 whatever the bar.
"""


def bar_images(*, marked: bool) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 16, 16) of a bar, and their classes; class 0 has a white corner pixel too."""
    labels = torch.arange(CLASSES).repeat_interleave(PER_CLASS)
    images = torch.zeros(len(labels), 1, SIDE, SIDE)
    for row, label in enumerate(labels.tolist()):
        images[row, 0, TOPS[label] : TOPS[label] + 2, 4:12] = 1.0
    if marked:
        images[labels == 0, 0, 0, 0] = 1.0
    return images, labels


def bar_network(mark_weight: float = MARK_WEIGHT) -> Callable[[Tensor], Tensor]:
    """x_c = the mean of bar c, and for class 0 also `mark_weight` times the corner pixel."""
    weights = torch.zeros(CLASSES, SIDE, SIDE)
    for label, top in enumerate(TOPS):
        weights[label, top : top + 2, 4:12] = BAR_WEIGHT / 16
    weights[0, 0, 0] = mark_weight

    def network(images: Tensor) -> Tensor:
        return images.flatten(1) @ weights.flatten(1).T

    return network
