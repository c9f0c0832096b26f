"""A report as one self-contained HTML file: it loads nothing and runs no script."""

import base64
import shlex
import struct
from collections.abc import Iterator
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from service.core.render.palette import CURVE_COLORS
from service.core.render.strength import STRONGEST_PEAK, WEAKEST_PEAK
from service.counts import Count
from service.report import formats
from service.report.axis import share_axis
from service.report.charts import Chart, Curve
from service.report.content import MethodMaps, Report
from service.report.languages import LANGUAGES, Language
from service.report.texts import Texts
from service.store.run_status import TERMINAL_STATUSES

CONTENT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)


@cache
def environment() -> Environment:
    """The templates' environment: autoescape on, an undefined name is an error."""
    templates = Environment(
        loader=PackageLoader("service.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "base64": lambda content: base64.b64encode(content).decode(),
        "count": Count,
        "number": formats.number,
        "percent": formats.percent,
        "png_size": png_size,
        "threshold": formats.threshold,
        "timestamp": formats.timestamp,
    }
    return templates


def render_report(report: Report, language: Language = "en") -> bytes:
    """The report as HTML in UTF-8."""
    texts = LANGUAGES[language]
    html = (
        environment()
        .get_template("report.jinja")
        .render(
            report=report,
            run=report.run,
            texts=texts,
            content_policy=CONTENT_POLICY,
            curve_colors=CURVE_COLORS,
            strength_range=(WEAKEST_PEAK, STRONGEST_PEAK),
            run_title=texts.run.format(id=report.run.id),
            last_epoch=report.epochs[-1] if report.epochs else None,
            notices=list(_notices(report, texts)),
            contents=list(_contents(report, texts)),
            charts=list(_charts(report, texts)),
            sampling_note=_sampling_note(report, texts),
            sheet_description=lambda maps: _sheet_description(maps, report, texts),
            class_accuracies=_class_accuracies(report),
            settings=_settings(report),
            command=command(report, language),
        )
    )
    return html.encode("utf-8", "replace")


def render_chart(chart: Chart, language: Language = "en") -> str:
    """The SVG of a chart, without its caption and legend."""
    macros = environment().get_template("chart.jinja").module
    return str(macros.chart_svg(chart, LANGUAGES[language]))  # type: ignore[attr-defined]


def command(report: Report, language: Language) -> str:
    """The command line that writes this report."""
    arguments = ["camreel", "report", str(report.run.id), "--epochs", report.epoch_selector]
    for method in report.methods:
        arguments += ["--method", method.text]
    return shlex.join([*arguments, "--language", language])


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the header (PNG specification, 11.2.2)."""
    width, height = struct.unpack_from(">II", png, 16)
    return width, height


def _contents(report: Report, texts: Texts) -> Iterator[tuple[str, str]]:
    """Anchors and headings of the sections, in the order of the template."""
    if report.maps:
        yield "legend", texts.legend
    if report.epochs:
        yield "findings", texts.findings
        yield "curves", texts.curves
    if report.maps:
        yield "blanks", texts.blank_maps
        yield "maps", texts.maps
    if report.epochs:
        yield "classes", texts.class_accuracy.format(epoch=report.epochs[-1].epoch)
        yield "epochs", texts.epochs
    yield "settings", texts.settings
    yield "provenance", texts.provenance


def _notices(report: Report, texts: Texts) -> Iterator[str]:
    """Why the report is incomplete, if it is."""
    run, has_ended = report.run, report.run.status in TERMINAL_STATUSES
    if not report.epochs:
        yield texts.ended_without_epochs if has_ended else texts.no_epochs_yet
    elif not has_ended:
        yield texts.run_in_progress
    if 0 < len(report.epochs) <= run.epochs_done:
        yield texts.epochs_covered.format(
            count=len(report.epochs),
            total=Count(run.epochs_done + 1),
            first=report.epochs[0].epoch,
            last=report.epochs[-1].epoch,
        )


def _charts(report: Report, texts: Texts) -> Iterator[Chart]:
    """Loss, accuracy and, if there are maps, the fraction of blank maps."""
    epochs = [epoch.epoch for epoch in report.epochs]
    loss = [
        Curve(texts.test_images, [epoch.test_loss for epoch in report.epochs]),
        Curve(texts.train_images, [epoch.train_loss for epoch in report.epochs]),
    ]
    accuracy = [
        Curve(texts.test_images, [epoch.test_accuracy for epoch in report.epochs]),
        Curve(texts.train_images, [epoch.train_accuracy for epoch in report.epochs]),
    ]
    blank = [
        Curve(maps.method.text, [maps.blank_fraction(epoch) for epoch in epochs])
        for maps in report.maps
    ]
    yield Chart("loss", texts.loss, epochs, loss, is_fraction=False)
    is_below_test = any(
        epoch.train_accuracy is not None and epoch.train_accuracy < epoch.test_accuracy
        for epoch in report.epochs
    )
    axis = share_axis(curve.values for curve in accuracy)
    notes = [texts.training_accuracy_note] if is_below_test else []
    if any(value is not None and value < axis.low for curve in accuracy for value in curve.values):
        notes.append(texts.axis_start.format(low=formats.share(axis.low)))
    yield Chart(
        "accuracy", texts.accuracy, epochs, accuracy, is_fraction=True, notes=notes,
        fitted_axis=axis,
    )  # fmt: skip
    if blank:
        yield Chart("blank", texts.blank_fraction, epochs, blank, is_fraction=True)


def _sampling_note(report: Report, texts: Texts) -> str:
    """Which epochs the sheets and the table of epochs show."""
    if len(report.sampled_epochs) == len(report.epochs):
        return texts.all_epochs_shown
    return texts.sampled_epochs_shown.format(
        total=Count(len(report.epochs)),
        shown=len(report.sampled_epochs),
        step=report.sampling_step,
    )


def _sheet_description(maps: MethodMaps, report: Report, texts: Texts) -> str:
    causes = (f"{texts.cause_names[cause]} {n}" for cause, n in maps.blanks_by_cause.items())
    return texts.sheet_alt.format(
        method=maps.method.text,
        rows=Count(maps.rows),
        columns=Count(len(report.sampled_epochs)),
        blank=maps.blank_count,
        total=Count(maps.map_count),
        causes=", ".join(causes),
    )


def _class_accuracies(report: Report) -> list[tuple[str, float]]:
    """Class names with their test accuracies, 0..1, at the last epoch."""
    if not report.epochs:
        return []
    accuracies = report.epochs[-1].per_class_accuracy
    return list(zip(report.run.class_names, accuracies, strict=True))


def _settings(report: Report) -> list[tuple[str, str]]:
    """The fields of the spec, except for the name and tags, which the header shows."""
    spec = report.run.spec
    return list(
        formats.flatten({name: spec[name] for name in spec if name not in ("name", "tags")})
    )
