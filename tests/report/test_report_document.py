"""Reports as files: what users wrote stays text, axes are finite, and nothing is fetched."""

import base64
import dataclasses
import math
import re
import string
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest

from service.core.cams.blank import Blank
from service.core.render.png import encode_png
from service.core.render.report.axis import axis_of_epochs, axis_of_values
from service.core.render.report.content import EpochFacts, Maps, MethodFacts, Report, RunFacts
from service.core.render.report.curves import Chart, Curve, chart_svg
from service.core.render.report.elements import document, tag
from service.core.render.report.languages import LANGUAGES
from service.core.render.report.page import page

ATTACK = "<script>alert(1)</script>"
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PNG = encode_png(np.zeros((20, 30, 3), np.uint8))
METHODS = [
    MethodFacts(name, f"Method {name}", "a < b & c", "Somebody", 2017, "conv2")
    for name in ("conventional", "proposed")
]


class Reader(HTMLParser):
    """What a browser would make of the file: elements with their attributes, and the text."""

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

    def all(self, kind: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == kind]


def epoch(number: int, **changed: object) -> EpochFacts:
    facts = EpochFacts(
        number, None if number == 0 else 1.5, None if number == 0 else 0.5, 1.25, 0.625,
        (0.5, 0.75), 1.0, 2.0, "ab" * 32, WHEN,
    )  # fmt: skip
    return dataclasses.replace(facts, **changed)


def maps(method: MethodFacts, epochs: list[EpochFacts]) -> Maps:
    causes = {cause.value: 0 for cause in Blank if cause is not Blank.NONE}
    count = len(epochs)
    by_epoch = {one.epoch: 1 for one in epochs}
    return Maps(method, PNG, 2, 2, by_epoch, 2 * count, count, causes | {"saturated": count})


def report(epochs: int = 3, **changed: object) -> Report:
    there = [epoch(number) for number in range(epochs)]
    run = RunFacts(
        7, "a run", ["first"], "succeeded", None, epochs - 1, 2, "Digits", ["zero", "one"],
        {"name": "a run", "dataset": "digits", "optimizer": {"name": "sgd"}}, WHEN, WHEN, WHEN,
    )  # fmt: skip
    facts = {name: changed.pop(name) for name in list(changed) if hasattr(run, name)}
    return dataclasses.replace(
        Report(
            dataclasses.replace(run, **facts), "0:", there, [one.epoch for one in there], 1,
            METHODS, [maps(method, there) for method in METHODS] if there else [],
            1e-7, "viridis", "1.2.3",
        ),
        **changed,
    )  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_users_wrote_stays_text(language):
    told = report(
        name=ATTACK,
        tags=[ATTACK],
        class_names=[ATTACK, '" onload="alert(1)'],
        error=f"{ATTACK} &amp;",
        spec={"a": ATTACK, "b": [ATTACK], ATTACK: 1},
        methods=[dataclasses.replace(METHODS[0], text=ATTACK, formula=ATTACK)],
    )
    seen = Reader(page(told, language))
    assert not seen.all("script")
    assert not [name for _, found in seen.elements for name in found if name.startswith("on")]
    # Title and heading, tag, class, error, and three in the spec, one a method's command.
    assert seen.text.count(ATTACK) >= 8
    assert '" onload="alert(1)' in seen.text
    assert f"{ATTACK} &amp;" in seen.text


def test_an_attribute_is_escaped_too():
    (found,) = Reader(document(tag("img", alt='"><script>'))).all("img")
    assert found == {"alt": '"><script>'}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("epochs", [0, 1, 3, 120])
def test_nothing_is_fetched_and_every_link_leads_within_the_file(language, epochs):
    content = page(report(epochs), language)
    seen = Reader(content)
    assert content.startswith(b"<!DOCTYPE html>")
    assert seen.all("html") == [{"lang": language}]
    for _, attributes in seen.elements:
        for name in ("src", "href", "srcset", "action", "xlink:href", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), value
    assert b"http://" not in content
    assert b"https://" not in content
    assert b"url(" not in content
    (policy,) = [one["content"] for one in seen.all("meta") if one.get("http-equiv")]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    ids = [found["id"] for _, found in seen.elements if "id" in found]
    assert len(ids) == len(set(ids))
    for link in seen.all("a"):
        assert link["href"].removeprefix("#") in ids
    for svg in seen.all("svg"):
        if svg.get("role") == "img":
            assert set(svg["aria-labelledby"].split()) <= set(ids)
        else:
            assert svg["aria-hidden"] == "true"
    assert len(seen.all("img")) == (2 if epochs else 0)
    for picture in seen.all("img"):
        assert base64.b64decode(picture["src"].partition(",")[2]) == PNG
        assert (picture["width"], picture["height"]) == ("30", "20")
        assert picture["alt"]


def test_all_that_is_known_is_told():
    text = Reader(page(report())).text
    for words in (
        "a run", "succeeded", "first", "2026-01-02 03:04:05 UTC", "Digits", "1e-7", "saturated",
        "62.50%", "optimizer.name", "sgd", "1.2.3", "ab" * 32, "Every epoch is shown",
        "camreel report 7 --epochs 0: --method conventional --method proposed --language en",
    ):  # fmt: skip
        assert words in text, words


def test_a_sample_is_said_to_be_one():
    sampled = dataclasses.replace(report(101), shown=list(range(0, 101, 2)), step=2)
    seen = Reader(page(sampled))
    assert seen.text.count("Of 101 epochs 51 are shown, evenly spaced: one in every 2") == 2
    assert len([one for one in seen.all("th") if one["scope"] == "row"]) == 51 + 2 + 2
    assert "51 epochs" in seen.all("img")[0]["alt"]


@pytest.mark.parametrize(
    ("status", "words"),
    [("queued", "no epochs yet"), ("running", "no epochs yet"), ("failed", "ended before")],
)
def test_without_epochs_there_is_a_report_that_says_so(status, words):
    waiting = report(0, status=status, started_at=None, finished_at=None)
    text = Reader(page(waiting)).text
    assert words in text
    assert "optimizer.name" in text
    assert "Curves" not in text


def test_a_run_in_work_and_a_part_of_one_are_said_to_be():
    assert "had not ended" in Reader(page(report(status="running"))).text
    assert "3 of the run's 11 epochs, 0 to 2" in Reader(page(report(epochs_done=10))).text


def texts_of(language):
    for name, value in vars(LANGUAGES[language]).items():
        if isinstance(value, str):
            yield name, value
        else:
            yield from ((f"{name}.{key}", words) for key, words in value.items())


@pytest.mark.parametrize("language", LANGUAGES)
def test_languages_fill_in_the_same_values_and_name_every_cause(language):
    def fields(words):
        return {field for _, _, field, _ in string.Formatter().parse(words) if field is not None}

    english = dict(texts_of("en"))
    for name, words in texts_of(language):
        assert words
        if not name.startswith("methods."):
            assert fields(words) == fields(english[name]), name
    texts = LANGUAGES[language]
    causes = {cause.value for cause in Blank} - {"none"}
    assert set(texts.causes) == set(texts.cause_meanings) == causes


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
def test_an_axis_is_finite_and_holds_its_values(values):
    axis = axis_of_values(values)
    assert axis.low < axis.high
    assert 2 <= len(axis.ticks) <= 8
    for value in [*axis.ticks, *filter(math.isfinite, values)]:
        assert -1e-9 <= axis.place(value) <= 1 + 1e-9
    assert sorted(set(axis.ticks)) == list(axis.ticks)


def test_ticks_are_round():
    assert axis_of_values([2.33, 0.4]).ticks == (0, 0.5, 1, 1.5, 2, 2.5)
    assert axis_of_values([0.0, 430]).ticks == (0, 100, 200, 300, 400, 500)
    assert axis_of_epochs(range(101)).ticks == (0, 20, 40, 60, 80, 100)
    assert axis_of_epochs(range(4)).ticks == (0, 1, 2, 3)
    assert axis_of_epochs([7, 9, 12]).ticks == (7, 8, 9, 10, 11, 12)
    assert axis_of_epochs([5]).place(5) == 0.5


def svg(values, epochs=None, *, share=False):
    chart = Chart("x", "A < B", epochs or range(len(values)), [Curve("one", values)], share)
    content = document(chart_svg(chart, LANGUAGES["en"]))
    return content.decode(), Reader(content)


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize(
    "values", [[0.0] * 3, [1.0] * 3, [0.25], [None, None], [None, 0.5, 0.5], [0.1, math.nan, 0.3]]
)
def test_curves_have_numbers_only(values, share):
    text, seen = svg(values, share=share)
    drawn = re.sub(r"<(title|desc).*?</\1>", "", text)
    assert not re.search(r"nan|inf", drawn, re.IGNORECASE)
    known = [one for one in values if one is not None and math.isfinite(one)]
    assert len(seen.all("circle")) == len(known)
    _, _, width, height = map(float, seen.all("svg")[0]["viewbox"].split())
    for dot in seen.all("circle"):
        assert 0 <= float(dot["cx"]) <= width
        assert 0 <= float(dot["cy"]) <= height


def test_a_curve_breaks_where_a_value_is_missing():
    _, seen = svg([1.0, 2.0, None, 3.0, 4.0])
    (path,) = [one["d"] for one in seen.all("path")]
    assert (path.count("M"), path.count("L")) == (2, 2)


def test_higher_values_stand_higher_and_later_ones_to_the_right():
    _, seen = svg([0.0, 0.5, 1.0], share=True)
    dots = [(float(dot["cx"]), float(dot["cy"])) for dot in seen.all("circle")]
    assert [x for x, _ in dots] == sorted({x for x, _ in dots})
    assert [y for _, y in dots] == sorted({y for _, y in dots}, reverse=True)


def test_a_chart_is_told_in_words():
    text, seen = svg([0.25, 0.75, 0.5], share=True)
    assert "A < B" in seen.text
    assert "one: 25.00% at epoch 0, 50.00% at epoch 2, lowest 25.00%, highest 75.00%." in text
    assert "one: no values." in svg([None])[0]
