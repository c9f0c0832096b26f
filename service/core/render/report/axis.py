"""Axes with round ticks."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

MOST_TICKS = 5


@dataclass(frozen=True)
class Axis:
    """From low to high, which is above low; ticks within them."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """Where a value lies: 0 at low, 1 at high."""
        return (value - self.low) / (self.high - self.low)


SHARE = Axis(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0))


def axis_of_values(values: Iterable[float]) -> Axis:
    """From 0, or below it, to a round number above all values that are numbers."""
    low, high = _extent([0.0, *values])
    step = _round_step((high - low) / MOST_TICKS)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(i * step for i in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks)


def axis_of_epochs(epochs: Iterable[int]) -> Axis:
    """From the first to the last epoch; a single one stands in the middle."""
    there = list(epochs) or [0]
    first, last = min(there), max(there)
    step = int(max(1, _round_step((last - first) / MOST_TICKS))) if last > first else 1
    ticks = tuple(float(i * step) for i in range(math.ceil(first / step), last // step + 1))
    return Axis(first, last, ticks) if last > first else Axis(first - 0.5, first + 0.5, ticks)


def _extent(values: Iterable[float]) -> tuple[float, float]:
    numbers = [value for value in values if math.isfinite(value)]
    low, high = min(numbers, default=0.0), max(numbers, default=0.0)
    # What is closer together than this has no ticks that differ as they are written.
    return (low, high) if high - low > 1e-30 else (low, low + 1.0)


def _round_step(least: float) -> float:
    """The smallest 1, 2 or 5 times a power of ten that is no less."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))
