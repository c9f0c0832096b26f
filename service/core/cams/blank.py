"""Blank maps: when a map shows nothing, and why. Arithmetic on three numbers, no tensors."""

import math
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
    NOT_FINITE = "not-finite"  # the map, or the activations, are infinite or not a number


CAUSES = [cause for cause in Blank if cause is not Blank.NONE]


def blank_cause(
    peak: float, minimum: float, activation_peak: float, epsilon: float = DEFAULT_EPSILON
) -> Blank:
    """The cause for which a map is blank at threshold epsilon >= 0.

    `peak` is the maximum of equation 2 (after ReLU), `minimum` the minimum of its sum before ReLU,
    `activation_peak` the largest |A| of the layer; one that is infinite or NaN stands for a map, or
    activations, that are not finite.
    """
    if not (math.isfinite(peak) and math.isfinite(minimum)):
        return Blank.NOT_FINITE
    if peak > epsilon:
        return Blank.NONE
    if not math.isfinite(activation_peak):
        return Blank.NOT_FINITE
    if activation_peak <= epsilon:
        return Blank.DEAD
    # Evidence against the class that is larger than epsilon shows that a gradient was there.
    return Blank.ALL_NEGATIVE if minimum < -epsilon else Blank.SATURATED
