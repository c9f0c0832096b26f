"""The HTML of reports: user text is escaped, axes are finite, and nothing is loaded."""

import base64
import dataclasses
import math
import re
import string
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest

from service.core.cams.maps import Blank
from service.core.png import encode_png
from service.report.axis import epoch_axis, share_axis, value_axis
from service.report.charts import Chart, Curve
from service.report.content import EpochFacts, MethodFacts, MethodMaps, Report, RunFacts
from service.report.languages import LANGUAGES
from service.report.rendering import environment, render_chart, render_report

ATTACK = "<script>alert(1)</script>"
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PNG = encode_png(np.zeros((20, 30, 3), np.uint8))
METHODS = [
    MethodFacts(name, f"Method {name}", "a < b & c", "Somebody", 2017, "conv2")
    for name in ("conventional", "proposed")
]


class Reader(HTMLParser):
    """Parses HTML into elements with attributes and text."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(content.decode("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def epoch(number: int, **changes: object) -> EpochFacts:
    facts = EpochFacts(
        number, None if number == 0 else 1.5, None if number == 0 else 0.5, 1.25, 0.625,
        (0.5, 0.75), 1.0, 2.0, "ab" * 32, WHEN,
    )  # fmt: skip
    return dataclasses.replace(facts, **changes)


def maps(method: MethodFacts, epochs: list[EpochFacts]) -> MethodMaps:
    causes = {cause.value: 0 for cause in Blank if cause is not Blank.NONE}
    count = len(epochs)
    blanks = {facts.epoch: 1 for facts in epochs}
    return MethodMaps(method, PNG, 2, 2, blanks, 2 * count, count, causes | {"saturated": count})


def report(epochs: int = 3, **changes: object) -> Report:
    facts = [epoch(number) for number in range(epochs)]
    run = RunFacts(
        7, "a run", ["first"], "succeeded", None, epochs - 1, 2, "Digits", ["zero", "one"],
        {"name": "a run", "dataset": "digits", "optimizer": {"name": "sgd"}}, WHEN, WHEN, WHEN,
    )  # fmt: skip
    run_changes = {name: changes.pop(name) for name in list(changes) if hasattr(run, name)}
    return dataclasses.replace(
        Report(
            dataclasses.replace(run, **run_changes), "0:",
            facts, [epoch.epoch for epoch in facts], 1,
            METHODS, [maps(method, facts) for method in METHODS] if facts else [],
            1e-7, "viridis", "1.2.3",
        ),
        **changes,
    )  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_user_text_is_escaped(language):
    hostile = report(
        name=ATTACK,
        tags=[ATTACK],
        class_names=[ATTACK, '" onload="alert(1)'],
        error=f"{ATTACK} &amp;",
        spec={"a": ATTACK, "b": [ATTACK], ATTACK: 1},
        methods=[dataclasses.replace(METHODS[0], text=ATTACK, formula=ATTACK)],
    )
    document = Reader(render_report(hostile, language))
    assert not document.all("script")
    names = [name for _, attributes in document.elements for name in attributes]
    assert not [name for name in names if name.startswith("on")]
    # Title, heading, tag, class, error, three in the spec, and the method in the command.
    assert document.text.count(ATTACK) >= 8
    assert '" onload="alert(1)' in document.text
    assert f"{ATTACK} &amp;" in document.text


def test_attribute_is_escaped():
    template = environment().from_string('<img alt="{{ alt }}">')
    (attributes,) = Reader(template.render(alt='"><script>').encode()).all("img")
    assert attributes == {"alt": '"><script>'}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("epochs", [0, 1, 3, 120])
def test_report_loads_nothing_and_links_only_to_its_own_sections(language, epochs):
    content = render_report(report(epochs), language)
    document = Reader(content)
    assert content.startswith(b"<!DOCTYPE html>")
    assert document.all("html") == [{"lang": language}]
    for _, attributes in document.elements:
        for name in ("src", "href", "srcset", "action", "xlink:href", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), value
    assert b"http://" not in content
    assert b"https://" not in content
    assert b"url(" not in content
    (policy,) = [meta["content"] for meta in document.all("meta") if meta.get("http-equiv")]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    ids = [attributes["id"] for _, attributes in document.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    anchors = [link["href"].removeprefix("#") for link in document.all("a")]
    assert anchors == [heading["id"] for heading in document.all("h2")]
    for svg in document.all("svg"):
        if svg.get("role") == "img":
            assert set(svg["aria-labelledby"].split()) <= set(ids)
        else:
            assert svg["aria-hidden"] == "true"
    assert len(document.all("img")) == (2 if epochs else 0)
    for picture in document.all("img"):
        assert base64.b64decode(picture["src"].partition(",")[2]) == PNG
        assert (picture["width"], picture["height"]) == ("30", "20")
        assert picture["alt"]


def test_report_shows_all_facts():
    text = Reader(render_report(report())).text
    for fact in (
        "a run", "succeeded", "first", "2026-01-02 03:04:05 UTC", "Digits", "1e-7", "saturated",
        "62.50%", "optimizer.name", "sgd", "1.2.3", "ab" * 32, "Every epoch is shown",
        "camreel report 7 --epochs 0: --method conventional --method proposed --language en",
    ):  # fmt: skip
        assert fact in text, fact


def test_report_of_sampled_epochs_says_so():
    sampled = dataclasses.replace(
        report(101), sampled_epochs=list(range(0, 101, 2)), sampling_step=2
    )
    document = Reader(render_report(sampled))
    assert document.text.count("Showing 51 of 101 epochs: every 2 epochs, and the last.") == 2
    assert len([cell for cell in document.all("th") if cell["scope"] == "row"]) == 51 + 2 + 2
    assert "51 epochs" in document.all("img")[0]["alt"]


@pytest.mark.parametrize(
    ("status", "notice"),
    [("queued", "no epochs yet"), ("running", "no epochs yet"), ("failed", "ended before")],
)
def test_report_without_epochs_says_so(status, notice):
    empty_report = report(0, status=status, started_at=None, finished_at=None)
    text = Reader(render_report(empty_report)).text
    assert notice in text
    assert "optimizer.name" in text
    assert "Curves" not in text


def test_report_says_that_run_is_in_progress_or_only_partly_covered():
    assert "had not ended" in Reader(render_report(report(status="running"))).text
    assert "3 of the run's 11 epochs, 0 to 2" in Reader(render_report(report(epochs_done=10))).text


def iterate_texts(language):
    for name, value in vars(LANGUAGES[language]).items():
        if isinstance(value, str):
            yield name, value
        else:
            yield from ((f"{name}.{key}", text) for key, text in value.items())


@pytest.mark.parametrize("language", LANGUAGES)
def test_languages_have_the_same_placeholders_and_name_every_cause(language):
    def placeholders(text):
        return {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}

    english = dict(iterate_texts("en"))
    for name, text in iterate_texts(language):
        assert text
        if not name.startswith("method_titles."):
            assert placeholders(text) == placeholders(english[name]), name
    texts = LANGUAGES[language]
    causes = {cause.value for cause in Blank} - {"none"}
    assert set(texts.cause_names) == set(texts.cause_descriptions) == causes


@pytest.mark.parametrize(
    "values",
    [
        [0.0, 0.0, 0.0],
        [2.5, 2.5, 2.5],
        [-1.0, -1.0],
        [1e-12, 2e-12],
        [5e-324, 0.0],
        [1e9, 3.0],
        [0.7],
        [],
        [math.nan, math.inf, 2.0],
    ],
)
def test_axis_is_finite_and_contains_its_values(values):
    axis = value_axis(values)
    assert axis.low < axis.high
    assert 2 <= len(axis.ticks) <= 8
    for value in [*axis.ticks, *filter(math.isfinite, values)]:
        assert -1e-9 <= axis.position(value) <= 1 + 1e-9
    assert sorted(set(axis.ticks)) == list(axis.ticks)


@pytest.mark.parametrize(
    ("curves", "ends"),
    [
        ([[0.1, 0.7, 0.9, 0.95, 0.96, 0.97, 0.97, 0.98, 0.98, 0.97]], (0.6, 1.0)),
        ([[0.1, 0.97, 0.98]], (0.965, 0.985)),  # as narrow as an axis gets
        ([[0.1]], (0.09, 0.11)),
        ([[0.1, 1, 1]], (0.99, 1.0)),
        ([[math.nan, 0.5, None]], (0.49, 0.51)),
        ([[0.0] * 5 + [1.0]], (0.0, 1.0)),
        ([[], [None]], (0.0, 1.0)),
    ],
)
def test_axis_of_shares_fits_the_values(curves, ends):
    axis = share_axis(curves)
    assert (axis.low, axis.high) == ends
    assert (axis.ticks[0], axis.ticks[-1]) == ends
    assert len(axis.ticks) >= 2


def test_value_below_a_fitted_axis_has_no_dot():
    accuracies = [0.1, 0.96, 0.97, 0.98]
    chart = Chart(
        "accuracy",
        "Accuracy",
        range(4),
        [Curve("test", accuracies)],
        True,
        fitted_axis=share_axis([accuracies]),
    )
    (curve,) = chart.drawings()
    assert len(curve.dots) == 3
    assert curve.path.count("L") == 3  # to the clipped value too
    assert [label for _, label in chart.y_ticks()] == ["95.5%", "96%", "96.5%", "97%", "97.5%",
                                                       "98%", "98.5%"]  # fmt: skip


def test_ticks_are_round():
    assert value_axis([2.33, 0.4]).ticks == (0, 0.5, 1, 1.5, 2, 2.5)
    assert value_axis([0.0, 430]).ticks == (0, 100, 200, 300, 400, 500)
    assert epoch_axis(range(101)).ticks == (0, 20, 40, 60, 80, 100)
    assert epoch_axis(range(4)).ticks == (0, 1, 2, 3)
    assert epoch_axis([7, 9, 12]).ticks == (7, 8, 9, 10, 11, 12)
    assert epoch_axis([5]).position(5) == 0.5


def svg(values, epochs=None, *, is_fraction=False):
    chart = Chart("x", "A < B", epochs or range(len(values)), [Curve("one", values)], is_fraction)
    content = render_chart(chart)
    return content, Reader(content.encode())


@pytest.mark.parametrize("is_fraction", [False, True])
@pytest.mark.parametrize(
    "values", [[0.0] * 3, [1.0] * 3, [0.25], [None, None], [None, 0.5, 0.5], [0.1, math.nan, 0.3]]
)
def test_curves_contain_only_finite_numbers(values, is_fraction):
    text, drawing = svg(values, is_fraction=is_fraction)
    shapes = re.sub(r"<(title|desc).*?</\1>", "", text)
    assert not re.search(r"nan|inf", shapes, re.IGNORECASE)
    finite = [value for value in values if value is not None and math.isfinite(value)]
    assert len(drawing.all("circle")) == len(finite)
    _, _, width, height = map(float, drawing.all("svg")[0]["viewbox"].split())
    for dot in drawing.all("circle"):
        assert 0 <= float(dot["cx"]) <= width
        assert 0 <= float(dot["cy"]) <= height


def test_curve_has_gap_where_value_is_missing():
    _, drawing = svg([1.0, 2.0, None, 3.0, 4.0])
    (path,) = [path["d"] for path in drawing.all("path")]
    assert (path.count("M"), path.count("L")) == (2, 2)


def test_chart_has_higher_values_higher_and_later_epochs_to_the_right():
    _, drawing = svg([0.0, 0.5, 1.0], is_fraction=True)
    dots = [(float(dot["cx"]), float(dot["cy"])) for dot in drawing.all("circle")]
    assert [x for x, _ in dots] == sorted({x for x, _ in dots})
    assert [y for _, y in dots] == sorted({y for _, y in dots}, reverse=True)


def test_chart_is_described_in_words():
    text, drawing = svg([0.25, 0.75, 0.5], is_fraction=True)
    assert "A < B" in drawing.text
    assert "one: 25.00% at epoch 0, 50.00% at epoch 2, lowest 25.00%, highest 75.00%." in text
    assert "one: no values." in svg([None])[0]
