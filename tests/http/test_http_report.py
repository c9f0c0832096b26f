"""The report over HTTP: one file that stands alone, and is not made again for who has it."""

import base64
import io
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from PIL import Image


class Reader(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def pictures(self) -> list[Image.Image]:
        matches = [item["src"] or "" for item_type, item in self.elements if item_type == "img"]
        data = [base64.b64decode(src.removeprefix("data:image/png;base64,")) for src in matches]
        return [Image.open(io.BytesIO(item)) for item in data]


@pytest.fixture
def address(finished_run: dict[str, Any]) -> str:
    return f"/runs/{finished_run['id']}/report.html"


def test_the_report_is_one_file_with_both_sheets(
    http: httpx.Client, finished_run: dict[str, Any], address: str
) -> None:
    answer = http.get(address)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    name = f'attachment; filename="run-{finished_run["id"]}-report.html"'
    assert answer.headers["content-disposition"] == name
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    page = Reader(answer.text)
    for _, attributes in page.elements:
        for link in ("src", "href"):
            value = attributes.get(link)
            assert value is None or value.startswith(("data:", "#"))
    assert not [
        item_type
        for item_type, _ in page.elements
        if item_type in ("script", "link", "iframe", "object")
    ]
    sheets = page.pictures
    assert len(sheets) == 2
    for sheet in sheets:
        sheet.load()
        assert sheet.format == "PNG"
        assert sheet.height > 10 * 44
    assert sheets[0].tobytes() != sheets[1].tobytes()


def test_its_numbers_are_those_of_the_other_endpoints(
    http: httpx.Client, finished_run: dict[str, Any], address: str
) -> None:
    page_text = " ".join(" ".join(Reader(http.get(address).text).words).split())
    run = f"/runs/{finished_run['id']}"
    epochs = http.get(f"{run}/epochs").json()["items"]
    assert len(epochs) == 4
    for epoch in epochs:
        assert f"{epoch['test_accuracy']:.2%}" in page_text
        assert f"{epoch['test_loss']:.4g}" in page_text
    assert epochs[-1]["checkpoint"]["sha256"] in page_text
    blanks = http.get(f"{run}/blanks", params={"epochs": "0:"}).json()["methods"]
    for method, count in blanks.items():
        row = [method, count["total"], count["blank"], f"{count['blank'] / count['total']:.2%}"]
        assert " ".join(map(str, [*row, *count["by_cause"].values()])) in page_text
    assert "shared" in page_text


def test_a_client_that_has_it_is_told_so(http: httpx.Client, address: str) -> None:
    first_response = http.get(address)
    again = http.get(address, headers={"if-none-match": first_response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert http.get(address).content == first_response.content
    spelled = "?method=conventional&method=proposed&method=proposed&epochs=0:&language=en"
    assert http.get(address + spelled).headers["etag"] == first_response.headers["etag"]
    other = {
        http.get(address + query).headers["etag"]
        for query in ("", "?language=ja", "?epochs=1:", "?method=proposed", "?method=layer-cam")
    }
    assert len(other) == 5


def test_methods_epochs_and_language_can_be_chosen(http: httpx.Client, address: str) -> None:
    params = {"method": ["layer-cam/centered"], "epochs": "1:3:2", "language": "ja"}
    page = Reader(http.get(address, params=params).text)
    assert len(page.pictures) == 1
    assert ("html", {"lang": "ja"}) in page.elements
    page_text = "".join(page.words)
    assert "layer-cam/centered" in page_text
    assert "2 エポック" in page_text


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?method=nonsense", "method"),
        ("?method=proposed/nonsense", "target"),
        ("?method=layer-cam?samples=5", "samples"),
        ("?" + "&".join(["method=proposed"] * 5), "method"),
        ("?epochs=soup", "epochs"),
        ("?language=fr", "language"),
        ("?colormap=jet", "colormap"),
    ],
)
def test_what_cannot_be_told_is_refused(
    http: httpx.Client, address: str, query: str, field: str
) -> None:
    answer = http.get(address + query)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_there_is_none_of_a_run_or_an_epoch_that_is_not(http: httpx.Client, address: str) -> None:
    assert http.get("/runs/99999/report.html").status_code == 404
    assert http.get(address, params={"epochs": "9"}).status_code == 404
