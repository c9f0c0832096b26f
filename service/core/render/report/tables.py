"""The tables of a report."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from service.core.render.report.content import EpochFacts, Report
from service.core.render.report.elements import Child, given, tag
from service.core.render.report.numbers import number, percent
from service.core.render.report.texts import Texts


def blank_table(report: Report, texts: Texts) -> Element:
    """Blank maps by method and cause."""
    causes = list(texts.causes)
    heads = [texts.method, texts.total, texts.blank, texts.share]
    rows: list[list[Child]] = []
    for one in report.maps:
        share = percent(one.blank / one.total if one.total else None)
        counts = [str(one.by_cause[cause]) for cause in causes]
        rows.append([tag("code", one.method.text), str(one.total), str(one.blank), share, *counts])
    return _table([*heads, *(texts.causes[cause] for cause in causes)], rows, texts.blanks)


def epoch_table(report: Report, texts: Texts) -> Element:
    """The measures of the epochs that are shown, with their blank maps."""
    heads = [
        texts.epoch_head,
        texts.train_loss,
        texts.test_loss,
        texts.train_accuracy,
        texts.test_accuracy,
        texts.learning_rate,
        texts.seconds,
        *(texts.blank_by.format(method=one.method.text) for one in report.maps),
    ]
    there = set(report.shown)
    rows = [_epoch_row(one, report) for one in report.epochs if one.epoch in there]
    return _table(heads, rows, texts.epochs)


def class_table(report: Report, texts: Texts) -> Element:
    """Accuracy by class at the last epoch."""
    rows: list[list[Child]] = []
    accuracies = report.epochs[-1].per_class_accuracy
    for name, accuracy in zip(report.run.class_names, accuracies, strict=True):
        share = percent(accuracy)
        filled = tag("i", style=f"width: {share}")
        rows.append([given(name), share, tag("span", filled, class_="bar", aria_hidden="true")])
    return _table([texts.class_, texts.accuracy, ""], rows, texts.accuracy)


def scrolled(inside: Element, label: str) -> Element:
    """A box that what is too wide scrolls in; by the keyboard too."""
    return tag("div", inside, class_="scroll", tabindex=0, role="region", aria_label=label)


def _epoch_row(one: EpochFacts, report: Report) -> list[Child]:
    return [
        str(one.epoch),
        number(one.train_loss),
        number(one.test_loss),
        percent(one.train_accuracy),
        percent(one.test_accuracy),
        number(one.learning_rate),
        f"{one.seconds:.1f}",
        *(f"{maps.blank_by_epoch[one.epoch]} / {maps.counted}" for maps in report.maps),
    ]


def _table(heads: Sequence[str], rows: Sequence[Sequence[Child]], label: str) -> Element:
    """The first cell of a row is its head."""
    # A column of pictures has no words, and an empty head would be read out as one.
    cells = (tag("th", words, scope="col") if words else tag("td") for words in heads)
    body = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:]))
        for row in rows
    ]
    return scrolled(tag("table", tag("thead", tag("tr", *cells)), tag("tbody", *body)), label)
