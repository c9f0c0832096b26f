"""Chart axes with round ticks."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_INTERVALS = 5
MIN_SHARE_SPAN = 0.02  # smaller differences of shares are not enlarged further
SHARE_PADDING = 0.08  # of the span, on each side
CLIPPED_SHARE = 0.1  # of the values of a curve
SHARE_STEPS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


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


def share_axis(curves: Iterable[Sequence[float | None]]) -> Axis:
    """An axis within 0..1 that is fitted to the values, so that 97 % and 98 % can be told apart.

    It leaves out the lowest tenth of each curve: the first epochs of a curve of learning, which
    would hide the differences between all others. As `shareAxis.ts` of the page.
    """
    finite = [[v for v in curve if v is not None and math.isfinite(v)] for curve in curves]
    finite = [sorted(values) for values in finite if values]
    if not finite:
        return FRACTION_AXIS
    least = min(values[min(math.ceil(CLIPPED_SHARE * len(values)), len(values) - 1)]
                for values in finite)  # fmt: skip
    most = max(values[-1] for values in finite)
    span = max(most - least, MIN_SHARE_SPAN)
    padding = max(SHARE_PADDING * span, (span - (most - least)) / 2)
    step = next((step for step in SHARE_STEPS if span / step <= MAX_INTERVALS), SHARE_STEPS[-1])
    first = max(0, math.floor(round((least - padding) / step, 6)))
    last = min(math.ceil(1 / step), math.ceil(round((most + padding) / step, 6)))
    ticks = tuple(round(number * step, 6) for number in range(first, last + 1))
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
