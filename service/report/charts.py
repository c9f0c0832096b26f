"""Line charts over epochs: the geometry of their inline SVG, which `chart.jinja` draws."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from service.report.axis import FRACTION_AXIS, Axis, epoch_axis, value_axis
from service.report.formats import number, percent, share
from service.report.texts import Texts

WIDTH, HEIGHT = 400, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 10, 38  # margins
DASHES = (None, "7 4", "2 3", "9 3 2 3")
MAX_DOTS = 30  # more dots would hide the line


@dataclass(frozen=True)
class Curve:
    """One value for each epoch; None and values that are not finite leave a gap."""

    label: str
    values: Sequence[float | None]


@dataclass(frozen=True)
class CurveDrawing:
    """A curve in SVG coordinates."""

    label: str
    path: str  # attribute `d`
    dots: Sequence[tuple[float, float]]
    dash: str | None  # attribute `stroke-dasharray`
    color: int  # index of the CSS class


@dataclass(frozen=True)
class Chart:
    """Curves that share their axes."""

    key: str  # prefix of the ids of its elements
    title: str
    epochs: Sequence[int]
    curves: Sequence[Curve]
    is_fraction: bool  # values in 0..1, shown as percentages
    notes: Sequence[str] = ()  # how to read the curves
    fitted_axis: Axis | None = None  # None: an axis that includes 0 and all values

    width = WIDTH
    height = HEIGHT
    left = LEFT
    right = WIDTH - RIGHT
    bottom = HEIGHT - BOTTOM

    @property
    def format_value(self) -> Callable[[float], str]:
        """The format of values in the chart's description."""
        return percent if self.is_fraction else number

    @property
    def x_axis(self) -> Axis:
        """The epochs."""
        return epoch_axis(self.epochs)

    @property
    def y_axis(self) -> Axis:
        """The values."""
        if self.fitted_axis is not None:
            return self.fitted_axis
        values = [value for curve in self.curves for value in curve.values if value is not None]
        return FRACTION_AXIS if self.is_fraction else value_axis(values)

    def x_ticks(self) -> Iterator[tuple[float, str]]:
        """Positions and labels."""
        for tick in self.x_axis.ticks:
            yield _x(self.x_axis, tick), f"{tick:.0f}"

    def y_ticks(self) -> Iterator[tuple[float, str]]:
        """Positions and labels."""
        for tick in self.y_axis.ticks:
            yield _y(self.y_axis, tick), share(tick) if self.is_fraction else number(tick)

    def drawings(self) -> Iterator[CurveDrawing]:
        """The curves in SVG coordinates."""
        for i, curve in enumerate(self.curves):
            points = self._points(curve)
            # The path of values below the axis is clipped.
            dots = [p for p in points if p is not None and p[1] <= self.bottom]
            style = i % len(DASHES)
            yield CurveDrawing(
                label=curve.label,
                path=_path(points),
                dots=dots if len(self.epochs) <= MAX_DOTS else [],
                dash=DASHES[style],
                color=style,
            )

    def description(self, texts: Texts) -> str:
        """The curves as text, for screen readers."""
        return " ".join(self._describe(curve, texts) for curve in self.curves)

    def _points(self, curve: Curve) -> list[tuple[float, float] | None]:
        x_axis, y_axis = self.x_axis, self.y_axis
        return [
            None
            if value is None or not math.isfinite(value)
            else (_x(x_axis, epoch), _y(y_axis, value))
            for epoch, value in zip(self.epochs, curve.values, strict=True)
        ]

    def _describe(self, curve: Curve, texts: Texts) -> str:
        points = [
            (epoch, value)
            for epoch, value in zip(self.epochs, curve.values, strict=True)
            if value is not None and math.isfinite(value)
        ]
        if not points:
            return texts.curve_empty.format(label=curve.label)
        (first_epoch, first_value), (last_epoch, last_value) = points[0], points[-1]
        values = [value for _, value in points]
        return texts.curve_description.format(
            label=curve.label,
            first=self.format_value(first_value),
            first_epoch=first_epoch,
            last=self.format_value(last_value),
            last_epoch=last_epoch,
            low=self.format_value(min(values)),
            high=self.format_value(max(values)),
        )


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    commands, pen_down = [], False
    for point in points:
        if point is not None:
            commands.append(f"{'L' if pen_down else 'M'}{point[0]:g} {point[1]:g}")
        pen_down = point is not None
    return "".join(commands)


def _x(axis: Axis, epoch: float) -> float:
    return round(LEFT + axis.position(epoch) * (WIDTH - LEFT - RIGHT), 1)


def _y(axis: Axis, value: float) -> float:
    return round(HEIGHT - BOTTOM - axis.position(value) * (HEIGHT - TOP - BOTTOM), 1)
