"""Blank maps: when a map shows nothing, and why. Arithmetic on three numbers, no tensors."""

from enum import StrEnum

DEFAULT_EPSILON = 1e-7
"""A peak up to this counts as blank unless another threshold is asked for: the guard that
pytorch-grad-cam adds to the denominator of equation 3, so that what is smaller does not show."""


class Blank(StrEnum):
    """Why a map shows nothing; `none` if it shows something."""

    NONE = "none"
    SATURATED = "saturated"  # the gradient of the score vanished
    ALL_NEGATIVE = "all-negative"  # the sum of equation 2 is nowhere positive before its ReLU
    DEAD = "dead"  # the layer has no activation to weigh


def blank_cause(
    peak: float, minimum: float, activation_peak: float, epsilon: float = DEFAULT_EPSILON
) -> Blank:
    """The cause for which a map is blank at threshold epsilon >= 0.

    `peak` is the maximum of equation 2 (after ReLU), `minimum` the minimum of its sum before ReLU,
    `activation_peak` the largest |A| of the layer.
    """
    if peak > epsilon:
        return Blank.NONE
    if activation_peak <= epsilon:
        return Blank.DEAD
    # Evidence against the class that is larger than epsilon shows that a gradient was there.
    return Blank.ALL_NEGATIVE if minimum < -epsilon else Blank.SATURATED
