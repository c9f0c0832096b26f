"""A browser that shows an address of the API gets a small page; every other client, JSON."""

import re
from urllib.parse import urljoin

import httpx
import pytest

CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    "path", ["/foo", "/foo/", "/runs/999999", "/runs/1/nothing/deeper", "/runs/zero", "/a%2Fb"]
)
def test_browser_gets_a_page_with_a_link_to_the_runs(http: httpx.Client, path: str) -> None:
    json_answer = http.get(path)
    answer = http.get(path, headers={"accept": CHROMIUM})
    assert answer.status_code == json_answer.status_code >= 400
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "Accept" in answer.headers["vary"]
    assert "style-src 'unsafe-inline'" in answer.headers["content-security-policy"]
    assert '<html lang="en">' in answer.text
    link = re.search(r'<a href="([^"]+)">', answer.text)
    assert link is not None
    assert http.get(urljoin(str(answer.url), link[1])).text.startswith("<!doctype html>")
    assert http.head(path, headers={"accept": CHROMIUM}).content == b""


def test_page_is_in_the_language_of_the_browser(http: httpx.Client) -> None:
    for languages, language in (
        ("ja,en-US;q=0.9", "ja"),
        ("en-GB,ja;q=0.5", "en"),
        ("de", "en"),
        ("", "en"),
    ):
        headers = {"accept": CHROMIUM, "accept-language": languages}
        assert f'<html lang="{language}">' in http.get("/foo", headers=headers).text


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "image/avif,image/webp,*/*;q=0.8", "text/event-stream"]
)
def test_other_clients_get_json(http: httpx.Client, accept: str) -> None:
    answer = http.get("/foo", headers={"accept": accept})
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 404


def test_text_of_the_request_is_escaped_and_changes_are_answered_with_json(
    http: httpx.Client,
) -> None:
    headers = {"accept": CHROMIUM}
    assert "<script" not in http.get("/images/<script>", headers=headers).text
    answer = http.post("/runs", json={"epochs": -1}, headers=headers)
    assert answer.headers["content-type"] == "application/problem+json"
