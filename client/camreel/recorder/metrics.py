"""Metrics that users measure: checked, and thinned where they come at every step."""

import math
from collections.abc import Mapping
from typing import Any

from camreel.errors import BadMetric

MAX_METRICS = 1_000
MAX_NAME_LENGTH = 256
MAX_POINTS = 200
"""Of a step metric in an epoch."""


def check_metrics(values: Mapping[str, Any]) -> tuple[dict[str, float | None], list[str]]:
    """The metrics that are numbers, None where they are not finite, and what is wrong with others.

    Numbers are those of Python, NumPy and torch, and tensors of one element.
    """
    metrics: dict[str, float | None] = {}
    reasons = []
    for name, value in values.items():
        try:
            metrics[check_name(name)] = as_number(name, value)
        except BadMetric as error:
            reasons.append(str(error))
    if len(metrics) > MAX_METRICS:
        reasons.append(f"an epoch has at most {MAX_METRICS} metrics")
        metrics = dict(list(metrics.items())[:MAX_METRICS])
    return metrics, reasons


def check_name(name: str) -> str:
    """Raises BadMetric for a name that the service would refuse."""
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise BadMetric(f"{name[:40]!r}: a name has 1 to {MAX_NAME_LENGTH} printable characters")
    return name


def as_number(name: str, value: Any) -> float | None:
    """A number, or None for one that is not finite. Raises BadMetric for anything else."""
    try:
        number = float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        number = None
    if number is None or isinstance(value, str | bytes | bytearray):
        raise BadMetric(f"{name}: must be a number, not {type(value).__name__}") from None
    return number if math.isfinite(number) else None


class StepMetrics:
    """The step metrics of the current epoch, in bounded memory.

    When a metric has too many points, every second one is dropped, and from then on recorded.
    """

    def __init__(self) -> None:
        self._points: dict[str, list[tuple[int, float | None]]] = {}
        self._strides: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self.step = 0
        """Number of the next step, from the beginning of the training."""

    def add(self, metrics: Mapping[str, float | None]) -> None:
        """Add a step."""
        for name, value in metrics.items():
            if name not in self._points and len(self._points) >= MAX_METRICS:
                continue
            points = self._points.setdefault(name, [])
            count = self._counts.get(name, 0)
            self._counts[name] = count + 1
            if count % self._strides.setdefault(name, 1):
                continue
            points.append((self.step, value))
            if len(points) > MAX_POINTS:
                del points[1::2]
                self._strides[name] *= 2
        self.step += 1

    def take(self) -> dict[str, list[tuple[int, float | None]]]:
        """The points by name, and begin the next epoch."""
        points, self._points, self._strides, self._counts = self._points, {}, {}, {}
        return points
