"""The report over HTTP: one self-contained file with an ETag."""

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
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def sheets(self) -> list[Image.Image]:
        """The contact sheets, without the pictures of findings."""
        sources, figure = [], None
        for tag, attributes in self.elements:
            figure = attributes.get("class") if tag == "figure" else figure
            if tag == "img" and figure == "sheet":
                sources.append(attributes["src"] or "")
        data = [base64.b64decode(src.removeprefix("data:image/png;base64,")) for src in sources]
        return [Image.open(io.BytesIO(png)) for png in data]


@pytest.fixture
def url(finished_run: dict[str, Any]) -> str:
    return f"/runs/{finished_run['id']}/report.html"


def test_report_is_one_file_with_both_sheets(
    http: httpx.Client, finished_run: dict[str, Any], url: str
) -> None:
    response = http.get(url)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    name = f'attachment; filename="run-{finished_run["id"]}-report.html"'
    assert response.headers["content-disposition"] == name
    assert response.headers["cache-control"] == "private, no-cache"
    assert response.headers["x-content-type-options"] == "nosniff"
    page = Reader(response.text)
    for _, attributes in page.elements:
        for link in ("src", "href"):
            value = attributes.get(link)
            assert value is None or value.startswith(("data:", "#"))
    assert not [tag for tag, _ in page.elements if tag in ("script", "link", "iframe", "object")]
    sheets = page.sheets
    assert len(sheets) == 2
    for sheet in sheets:
        sheet.load()
        assert sheet.format == "PNG"
        assert sheet.height > 10 * 44
    assert sheets[0].tobytes() != sheets[1].tobytes()


def test_numbers_in_the_report_equal_those_of_other_endpoints(
    http: httpx.Client, finished_run: dict[str, Any], url: str
) -> None:
    page_text = " ".join(" ".join(Reader(http.get(url).text).texts).split())
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


def test_report_is_revalidated_by_its_etag(http: httpx.Client, url: str) -> None:
    first_response = http.get(url)
    revalidated = http.get(url, headers={"if-none-match": first_response.headers["etag"]})
    assert (revalidated.status_code, revalidated.content) == (304, b"")
    assert http.get(url).content == first_response.content
    explicit_query = "?method=conventional&method=proposed&method=proposed&epochs=0:&language=en"
    assert http.get(url + explicit_query).headers["etag"] == first_response.headers["etag"]
    etags = {
        http.get(url + query).headers["etag"]
        for query in ("", "?language=ja", "?epochs=1:", "?method=proposed", "?method=layer-cam")
    }
    assert len(etags) == 5


def test_methods_epochs_and_language_can_be_selected(http: httpx.Client, url: str) -> None:
    params = {"method": ["layer-cam/centered"], "epochs": "1:3:2", "language": "ja"}
    page = Reader(http.get(url, params=params).text)
    assert len(page.sheets) == 1
    assert ("html", {"lang": "ja"}) in page.elements
    page_text = "".join(page.texts)
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
def test_invalid_parameters_are_refused(
    http: httpx.Client, url: str, query: str, field: str
) -> None:
    response = http.get(url + query)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in response.json()["errors"]] == [field]


def test_report_of_a_missing_run_or_epoch_is_404(http: httpx.Client, url: str) -> None:
    assert http.get("/runs/99999/report.html").status_code == 404
    assert http.get(url, params={"epochs": "9"}).status_code == 404
