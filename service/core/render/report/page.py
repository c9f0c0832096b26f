"""A report as one HTML file: it opens from disk, and asks for nothing from elsewhere."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from service.core.render.report import sections, sheets, tables
from service.core.render.report.content import Report
from service.core.render.report.elements import document, tag
from service.core.render.report.languages import LANGUAGES, Language
from service.core.render.report.numbers import threshold
from service.core.render.report.texts import Texts

STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)


def page(report: Report, language: Language = "en") -> bytes:
    """The report as HTML in UTF-8."""
    texts = LANGUAGES[language]
    run = report.run
    title = f"{run.name or texts.run.format(id=run.id)} · Camreel"
    parts = _parts(report, texts)
    return document(
        tag(
            "html",
            tag(
                "head",
                tag("meta", charset="utf-8"),
                tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
                tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
                tag("title", title),
                tag("style", STYLE),
            ),
            tag(
                "body",
                sections.head(report, texts),
                _contents(parts, texts),
                tag("main", *parts),
            ),
            lang=texts.language,
        )
    )


def _parts(report: Report, texts: Texts) -> list[Element]:
    parts = []
    if report.maps:
        parts.append(sections.seen(report, texts))
    if report.epochs:
        parts.append(sections.curves(report, texts))
    if report.maps:
        parts += [_blanks(report, texts), sheets.maps(report, texts)]
    if report.epochs:
        parts.append(_epochs(report, texts))
    return [*parts, sections.spec(report, texts), sections.made(report, texts)]


def _blanks(report: Report, texts: Texts) -> Element:
    counted = texts.blanks_counted.format(
        epochs=len(report.epochs), epsilon=threshold(report.epsilon)
    )
    return tag(
        "section",
        tag("h2", texts.blanks, id="blanks"),
        tag("p", counted, class_="note"),
        tables.blank_table(report, texts),
    )


def _epochs(report: Report, texts: Texts) -> Element:
    last = texts.classes.format(epoch=report.epochs[-1].epoch)
    return tag(
        "section",
        tag("h2", last, id="classes"),
        tables.class_table(report, texts),
        tag("h2", texts.epochs, id="epochs"),
        tag("p", sheets.shown(report, texts), class_="note"),
        tables.epoch_table(report, texts),
        class_="new-page",
    )


def _contents(parts: Sequence[Element], texts: Texts) -> Element:
    heads = [head for part in parts for head in part.iter("h2")]
    links = [tag("li", tag("a", head.text, href=f"#{head.get('id')}")) for head in heads]
    return tag("nav", tag("ul", *links), aria_label=texts.contents)
