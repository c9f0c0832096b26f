"""Curves over the epochs as inline SVG, which is sharp in print and needs no script."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from service.core.render.report.axis import SHARE, Axis, axis_of_epochs, axis_of_values
from service.core.render.report.elements import tag
from service.core.render.report.numbers import number, percent
from service.core.render.report.texts import Texts

WIDTH, HEIGHT = 400, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 10, 38
DASHES = (None, "7 4", "2 3", "9 3 2 3")
DOTS_UP_TO = 30  # points; more of them would hide the line


@dataclass(frozen=True)
class Curve:
    """A value an epoch; None, and what is no number, is a gap."""

    label: str
    values: Sequence[float | None]


@dataclass(frozen=True)
class Chart:
    """Curves over one another."""

    key: str  # of its elements' ids
    title: str
    epochs: Sequence[int]
    curves: Sequence[Curve]
    share: bool  # 0..1, told in percent

    @property
    def told(self) -> Callable[[float], str]:
        """How a value is written."""
        return percent if self.share else number


def chart_figure(chart: Chart, texts: Texts) -> Element:
    """The chart with its title above it and its legend under it."""
    return tag(
        "figure",
        tag("figcaption", chart.title),
        chart_svg(chart, texts),
        tag("ul", *(_legend(i, curve) for i, curve in enumerate(chart.curves)), class_="legend"),
        class_="chart",
    )


def chart_svg(chart: Chart, texts: Texts) -> Element:
    """Axes, ticks and curves, with a title and a description for who does not see them."""
    across = axis_of_epochs(chart.epochs)
    known = [value for curve in chart.curves for value in curve.values if value is not None]
    up = SHARE if chart.share else axis_of_values(known)
    ids = f"{chart.key}-title", f"{chart.key}-description"
    return tag(
        "svg",
        tag("title", chart.title, id=ids[0]),
        tag("desc", " ".join(_spoken(chart, curve, texts) for curve in chart.curves), id=ids[1]),
        _grid(up, chart),
        _ticks(across),
        tag("text", texts.epoch, x=WIDTH - RIGHT, y=HEIGHT - 4, text_anchor="end", class_="name"),
        *(_line(i, curve, chart.epochs, across, up) for i, curve in enumerate(chart.curves)),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_labelledby=" ".join(ids),
    )


def _grid(up: Axis, chart: Chart) -> Element:
    lines = []
    for tick in up.ticks:
        y = _y(up, tick)
        lines.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        told = f"{tick:.0%}" if chart.share else number(tick)
        lines.append(tag("text", told, x=LEFT - 6, y=y, dy="0.35em", text_anchor="end"))
    return tag("g", *lines)


def _ticks(across: Axis) -> Element:
    marks = []
    bottom = HEIGHT - BOTTOM
    for tick in across.ticks:
        x = _x(across, tick)
        marks.append(tag("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="tick"))
        marks.append(tag("text", f"{tick:.0f}", x=x, y=bottom + 17, text_anchor="middle"))
    return tag("g", *marks)


def _line(i: int, curve: Curve, epochs: Sequence[int], across: Axis, up: Axis) -> Element:
    points = [
        None if value is None or not math.isfinite(value) else (_x(across, epoch), _y(up, value))
        for epoch, value in zip(epochs, curve.values, strict=True)
    ]
    drawn = [point for point in points if point is not None]
    dots = drawn if len(drawn) <= DOTS_UP_TO else []
    return tag(
        "g",
        tag("path", d=_path(points), stroke_dasharray=_dash(i)),
        *(tag("circle", cx=x, cy=y, r=2.5) for x, y in dots),
        class_=f"curve colour-{i % len(DASHES)}",
    )


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    parts, pen_down = [], False
    for point in points:
        if point is not None:
            parts.append(f"{'L' if pen_down else 'M'}{point[0]:g} {point[1]:g}")
        pen_down = point is not None
    return "".join(parts)


def _legend(i: int, curve: Curve) -> Element:
    line = tag("path", d="M1 6H27", stroke_dasharray=_dash(i))
    group = tag("g", line, class_=f"curve colour-{i % len(DASHES)}")
    swatch = tag("svg", group, viewBox="0 0 28 12", width=28, height=12, aria_hidden="true")
    return tag("li", swatch, " ", tag("span", curve.label))


def _spoken(chart: Chart, curve: Curve, texts: Texts) -> str:
    known = [
        (epoch, value)
        for epoch, value in zip(chart.epochs, curve.values, strict=True)
        if value is not None and math.isfinite(value)
    ]
    if not known:
        return texts.curve_empty.format(label=curve.label)
    numbers = [value for _, value in known]
    return texts.curve_spoken.format(
        label=curve.label,
        first=chart.told(known[0][1]),
        first_epoch=known[0][0],
        last=chart.told(known[-1][1]),
        last_epoch=known[-1][0],
        low=chart.told(min(numbers)),
        high=chart.told(max(numbers)),
    )


def _x(across: Axis, epoch: float) -> float:
    return round(LEFT + across.place(epoch) * (WIDTH - LEFT - RIGHT), 1)


def _y(up: Axis, value: float) -> float:
    return round(HEIGHT - BOTTOM - up.place(value) * (HEIGHT - TOP - BOTTOM), 1)


def _dash(i: int) -> str | None:
    return DASHES[i % len(DASHES)]
