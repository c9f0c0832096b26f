"""Tolerances of float32 maps against an oracle in float64."""

import numpy as np

RELATIVE_ERROR = 1e-5
ROUNDING_ORDERS = 4
"""Two float32 computations of the same sum round in different orders: a small factor of error."""


def allowed_errors(double: np.ndarray, single: np.ndarray) -> np.ndarray:
    """Allowed absolute error (N, C) of each map, from an oracle's maps (N, C, H, W) in both types.

    1e-5 of the map's peak. A map that is a small difference of large terms loses digits in float32,
    in the oracle as in our code. For such a map the bound is the oracle's own float32 error on the
    same image, times ROUNDING_ORDERS.
    """
    own_peaks = np.abs(double).max((-2, -1))
    oracle_errors = np.abs(single - double).max((-3, -2, -1))[:, None]
    return np.maximum(RELATIVE_ERROR * own_peaks, ROUNDING_ORDERS * oracle_errors)


def assert_within_errors(maps: np.ndarray, double: np.ndarray, allowed: np.ndarray) -> None:
    """Assert that each map (N, C, H, W) is within its allowed error of the oracle's."""
    assert maps.shape == double.shape
    errors = np.abs(maps - double).max((-2, -1))
    assert (errors <= allowed).all(), f"{(errors / allowed).max():.2f} times the allowed error"
