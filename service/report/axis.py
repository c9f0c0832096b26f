"""Chart axes with round ticks."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

MAX_INTERVALS = 5


@dataclass(frozen=True)
class Axis:
    """An interval from low to high, low < high, with ticks inside it."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def position(self, value: float) -> float:
        """A value's position on the axis: 0 at low, 1 at high."""
        return (value - self.low) / (self.high - self.low)


FRACTION_AXIS = Axis(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0))


def value_axis(values: Iterable[float]) -> Axis:
    """An axis that includes 0 and all finite values and ends at round numbers."""
    low, high = _finite_range([0.0, *values])
    step = _round_step((high - low) / MAX_INTERVALS)
    first_step, last_step = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(i * step for i in range(first_step, last_step + 1))
    return Axis(ticks[0], ticks[-1], ticks)


def epoch_axis(epochs: Iterable[int]) -> Axis:
    """An axis from the first to the last epoch; a single epoch is centered."""
    numbers = list(epochs) or [0]
    low, high = min(numbers), max(numbers)
    if low == high:
        return Axis(low - 0.5, low + 0.5, (float(low),))
    step = int(max(1, _round_step((high - low) / MAX_INTERVALS)))
    ticks = tuple(float(i * step) for i in range(math.ceil(low / step), high // step + 1))
    return Axis(low, high, ticks)


def _finite_range(values: Iterable[float]) -> tuple[float, float]:
    """The lowest and the highest finite value, at least 1e-30 apart."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    # The ticks of a smaller range would all have the same label.
    return (low, high) if high - low > 1e-30 else (low, low + 1.0)


def _round_step(minimum: float) -> float:
    """The smallest 1, 2 or 5 times a power of ten that is at least `minimum`."""
    power = 10.0 ** math.floor(math.log10(minimum))
    return next(
        power * factor for factor in (1, 2, 5, 10) if power * factor >= minimum * (1 - 1e-9)
    )
