"""Numbers in JSON, which has no NaN and no infinity."""

from collections.abc import Iterable

import numpy as np


def finite_or_none(values: Iterable[float]) -> list[float | None]:
    """The values in order; None where one is infinite or NaN."""
    array = np.asarray(values if isinstance(values, np.ndarray) else list(values), np.float64)
    items: list[float | None] = array.tolist()
    for i in np.flatnonzero(~np.isfinite(array)):
        items[i] = None
    return items
