"""Blank maps: when a map shows nothing, and why. Arithmetic on three numbers of a map."""

from enum import StrEnum

import numpy as np
import numpy.typing as npt

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


BLANKS = list(Blank)
CAUSES = [cause for cause in Blank if cause is not Blank.NONE]

Extremes = npt.NDArray[np.float64]


def blank_cause(
    peak: float, minimum: float, activation_peak: float, epsilon: float = DEFAULT_EPSILON
) -> Blank:
    """The cause for which a map is blank at threshold epsilon >= 0.

    `peak` is the maximum of equation 2 (after ReLU), `minimum` the minimum of its sum before ReLU,
    `activation_peak` the largest |A| of the layer; one that is infinite or NaN stands for a map, or
    activations, that are not finite.
    """
    peaks, minima, activation_peaks = np.array([[peak], [minimum], [activation_peak]])
    return BLANKS[int(blank_codes(peaks, minima, activation_peaks, epsilon)[0])]


def blank_codes(
    peaks: Extremes,
    minima: Extremes,
    activation_peaks: Extremes,
    epsilon: float = DEFAULT_EPSILON,
) -> npt.NDArray[np.intp]:
    """The same of many maps (N,), as indices into BLANKS."""
    not_finite = ~(np.isfinite(peaks) & np.isfinite(minima))
    rules = [
        (not_finite, Blank.NOT_FINITE),
        (peaks > epsilon, Blank.NONE),
        (~np.isfinite(activation_peaks), Blank.NOT_FINITE),
        (activation_peaks <= epsilon, Blank.DEAD),
        # Evidence against the class that is larger than epsilon shows that a gradient was there.
        (minima < -epsilon, Blank.ALL_NEGATIVE),
    ]
    conditions = [condition for condition, _ in rules]
    codes = [BLANKS.index(cause) for _, cause in rules]
    return np.select(conditions, codes, BLANKS.index(Blank.SATURATED))
