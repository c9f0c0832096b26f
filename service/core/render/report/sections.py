"""The parts of a report in words and curves: what the run is, how it learned, how this was made."""

import shlex
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from service.core.render.report.content import Report
from service.core.render.report.curves import Chart, Curve, chart_figure
from service.core.render.report.elements import given, tag
from service.core.render.report.numbers import ABSENT, flat, moment, percent, threshold
from service.core.render.report.texts import Texts

ENDED = ("succeeded", "failed", "cancelled")


def head(report: Report, texts: Texts) -> Element:
    """Title, facts, and what is to be known first."""
    run = report.run
    title = texts.run.format(id=run.id)
    return tag(
        "header",
        tag("div", f"Camreel · {texts.report} · {title}", class_="muted"),
        tag("h1", given(run.name) if run.name.strip() else title),
        _list((tag("dt", name), tag("dd", value)) for name, value in _facts(report, texts)),
        *(tag("p", words, class_="notice") for words in _notices(report, texts)),
    )


def seen(report: Report, texts: Texts) -> Element:
    """What a map is, what blank means, and its three causes."""
    causes = [
        tag(
            "li",
            tag("span", class_=f"swatch {cause}", aria_hidden="true"),
            tag("span", tag("strong", texts.causes[cause]), f" – {meaning}"),
        )
        for cause, meaning in texts.cause_meanings.items()
    ]
    return tag(
        "section",
        tag("h2", texts.seen, id="seen"),
        tag("p", texts.seen_map),
        tag("p", texts.seen_blank.format(epsilon=threshold(report.epsilon))),
        tag("ul", *causes, class_="causes"),
    )


def curves(report: Report, texts: Texts) -> Element:
    """Loss, accuracy and the share of blank maps over the epochs."""
    epochs = [one.epoch for one in report.epochs]
    loss = [
        Curve(texts.test, [one.test_loss for one in report.epochs]),
        Curve(texts.train, [one.train_loss for one in report.epochs]),
    ]
    accuracy = [
        Curve(texts.test, [one.test_accuracy for one in report.epochs]),
        Curve(texts.train, [one.train_accuracy for one in report.epochs]),
    ]
    blank = [
        Curve(maps.method.text, [maps.blank_share(epoch) for epoch in epochs])
        for maps in report.maps
    ]
    charts = [
        Chart("loss", texts.loss, epochs, loss, share=False),
        Chart("accuracy", texts.accuracy, epochs, accuracy, share=True),
        Chart("blank", texts.blank_share, epochs, blank, share=True),
    ]
    figures = [chart_figure(chart, texts) for chart in charts if chart.curves]
    return tag(
        "section", tag("h2", texts.curves, id="curves"), tag("div", *figures, class_="charts")
    )


def spec(report: Report, texts: Texts) -> Element:
    """What was asked for; name and tags stand in the head."""
    asked = {name: value for name, value in report.run.spec.items() if name not in ("name", "tags")}
    fields = (
        (tag("dt", tag("code", name)), tag("dd", given(value))) for name, value in flat(asked)
    )
    return tag(
        "section",
        tag("h2", texts.spec, id="spec"),
        tag("p", texts.spec_names, class_="note"),
        _list(fields, "fields"),
        class_="new-page" if report.epochs else None,
    )


def made(report: Report, texts: Texts) -> Element:
    """By what and from what, and how it is made again."""
    said = [texts.made_by.format(version=report.version, id=report.run.id)]
    if report.epochs:
        last = report.epochs[-1]
        when = moment(last.created_at)
        values = {"epoch": last.epoch, "when": when, "checkpoint": last.checkpoint}
        said.append(texts.made_from.format(**values))
    if report.maps:
        said.append(texts.made_maps.format(colormap=report.colormap))
    return tag(
        "section",
        tag("h2", texts.made, id="made"),
        *(tag("p", words) for words in said),
        _list(_formulas(report), "fields"),
        tag("p", texts.made_again),
        tag("p", tag("code", command(report, texts))),
    )


def command(report: Report, texts: Texts) -> str:
    """The command line that makes the report."""
    words = ["camreel", "report", str(report.run.id), "--epochs", report.asked_epochs]
    for method in report.methods:
        words += ["--method", method.text]
    return shlex.join([*words, "--language", texts.language])


def _list(fields: Iterator[tuple[Element, Element]], kind: str | None = None) -> Element:
    return tag("dl", *(part for field in fields for part in field), class_=kind)


def _facts(report: Report, texts: Texts) -> Iterator[tuple[str, Element | str]]:
    run = report.run
    yield texts.status, tag("strong", texts.statuses.get(run.status, run.status))
    done = max(0, run.epochs_done)
    yield texts.epochs_done, texts.epochs_of.format(done=done, total=run.epochs_total)
    if report.epochs:
        last = report.epochs[-1]
        accuracy = percent(last.test_accuracy)
        yield texts.last_accuracy, texts.at_epoch.format(value=accuracy, epoch=last.epoch)
    yield texts.dataset, given(run.dataset)
    if run.tags:
        tags = (tag("span", given(one), class_="tag") for one in run.tags)
        yield texts.tags, tag("span", *tags, class_="tags")
    for words, when in (
        (texts.created, run.created_at),
        (texts.started, run.started_at),
        (texts.finished, run.finished_at),
    ):
        yield words, ABSENT if when is None else moment(when)


def _notices(report: Report, texts: Texts) -> Iterator[Element | str]:
    run, ended = report.run, report.run.status in ENDED
    if run.error:
        yield given(run.error)
    if not report.epochs:
        yield texts.none_ever if ended else texts.none_yet
    elif not ended:
        yield texts.unfinished
    if 0 < len(report.epochs) <= run.epochs_done:
        first, last = report.epochs[0].epoch, report.epochs[-1].epoch
        total = run.epochs_done + 1
        yield texts.covered.format(count=len(report.epochs), total=total, first=first, last=last)


def _formulas(report: Report) -> Iterator[tuple[Element, Element]]:
    for method in report.methods:
        source = f"{method.source} ({method.year})"
        yield (
            tag("dt", tag("code", method.text)),
            tag("dd", tag("code", method.formula), tag("br"), source),
        )
