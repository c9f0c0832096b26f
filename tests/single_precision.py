"""How far float32 maps may be from an oracle's in float64."""

import numpy as np

RELATIVE_ERROR = 1e-5
ROUNDING_ORDERS = 4
"""Two float32 computations of one sum differ by the order of their roundings: by a small factor."""


def allowed_errors(double: np.ndarray, single: np.ndarray) -> np.ndarray:
    """Absolute error (N, C) allowed of each map of an oracle's (N, C, H, W), computed twice.

    1e-5 of the map's own peak. A class whose map is a small difference of large terms loses digits
    in float32, the oracle's like ours: for such a map alone, the bound is the error that the oracle
    itself makes in float32 on the same image, times ROUNDING_ORDERS.
    """
    own_peaks = np.abs(double).max((-2, -1))
    oracle_errors = np.abs(single - double).max((-3, -2, -1))[:, None]
    return np.maximum(RELATIVE_ERROR * own_peaks, ROUNDING_ORDERS * oracle_errors)


def assert_within_errors(maps: np.ndarray, double: np.ndarray, allowed: np.ndarray) -> None:
    """Each of our maps (N, C, H, W) is the oracle's within its allowed error."""
    assert maps.shape == double.shape
    errors = np.abs(maps - double).max((-2, -1))
    assert (errors <= allowed).all(), f"{(errors / allowed).max():.2f} times the allowed error"
