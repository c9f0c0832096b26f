"""The contact sheets of a report."""

import base64
import struct
from xml.etree.ElementTree import Element

from service.core.render.report.content import Maps, Report
from service.core.render.report.elements import tag
from service.core.render.report.tables import scrolled
from service.core.render.report.texts import Texts


def maps(report: Report, texts: Texts) -> Element:
    """A sheet a method."""
    return tag(
        "section",
        tag("h2", texts.maps, id="maps"),
        tag("p", texts.rows_and_columns),
        tag("p", shown(report, texts)),
        *(_sheet(i, one, report, texts) for i, one in enumerate(report.maps)),
        class_="new-page wide",
    )


def shown(report: Report, texts: Texts) -> str:
    """Whether all epochs are shown, or which."""
    if len(report.shown) == len(report.epochs):
        return texts.all_shown
    return texts.some_shown.format(
        total=len(report.epochs), shown=len(report.shown), step=report.step
    )


def _sheet(i: int, one: Maps, report: Report, texts: Texts) -> Element:
    title = texts.methods.get(one.method.text, one.method.title)
    layer = texts.layer.format(layer=one.method.layer)
    width, height = png_size(one.sheet)
    picture = tag(
        "img",
        src="data:image/png;base64," + base64.b64encode(one.sheet).decode(),
        width=width,
        height=height,
        alt=texts.sheet_alt.format(
            method=one.method.text,
            rows=one.rows,
            columns=len(report.shown),
            blank=one.blank,
            total=one.total,
            causes=", ".join(f"{texts.causes[c]} {count}" for c, count in one.by_cause.items()),
        ),
    )
    return tag(
        "figure",
        tag("h3", texts.maps_by.format(title=title)),
        tag("figcaption", tag("code", one.method.text), f" · {layer}"),
        tag("input", type="checkbox", id=f"full-size-{i}"),
        tag("label", f" {texts.full_size}", for_=f"full-size-{i}"),
        scrolled(picture, title),
        class_="sheet",
    )


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels: the first words of the header (PNG specification, 11.2.2)."""
    width, height = struct.unpack_from(">II", png, 16)
    return width, height
