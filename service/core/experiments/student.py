"""Quantiles of Student's t distribution."""

import math

MAX_ITERATIONS = 200


def t_quantile(probability: float, degrees_of_freedom: int) -> float:
    """The value below which a t variable lies with that probability, in 0.5..1.

    By bisection of the distribution function for whole degrees of freedom (Abramowitz and Stegun
    1964, 26.7.3 and 26.7.4). Raises ValueError for other arguments.
    """
    if not 0.5 <= probability < 1 or degrees_of_freedom < 1:
        raise ValueError("a probability from 0.5 to below 1, and 1 or more degrees of freedom")
    low, high = 0.0, 1.0
    while _cumulative(high, degrees_of_freedom) < probability:
        high *= 2
    for _ in range(MAX_ITERATIONS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if _cumulative(middle, degrees_of_freedom) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _cumulative(t: float, n: int) -> float:
    """P(T <= t) for t >= 0."""
    angle = math.atan(t / math.sqrt(n))
    sine, cosine = math.sin(angle), math.cos(angle)
    term = total = cosine if n % 2 else 1.0
    for k in range(3 if n % 2 else 2, n - 1, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    if n % 2 == 0:
        central = sine * total
    elif n == 1:
        central = 2 * angle / math.pi
    else:
        central = 2 * (angle + sine * total) / math.pi
    return (1 + central) / 2
