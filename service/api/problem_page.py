"""A problem as a small page, for a browser that shows an address of the API itself."""

from collections.abc import Mapping
from html import escape
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse

from service.api.content_negotiation import negotiate_language, negotiate_media_type
from service.api.scopes import SAFE_METHODS
from service.relative_urls import path_to_root

HEADINGS = {
    "en": {
        401: "Sign in to see this page",
        403: "You may not see this page",
        404: "There is no such page",
        410: "This page is gone",
    },
    "ja": {
        401: "サインインが必要です",
        403: "このページを見る権限がありません",
        404: "ページが見つかりません",
        410: "このページはなくなりました",
    },
}
OTHER_HEADING = {
    "en": "The service cannot show this page",
    "ja": "このページを表示できません",
}
LINK = {"en": "Go to the list of runs", "ja": "実行一覧へ"}

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; "
    "form-action 'none'"
)

STYLE = """
:root { color-scheme: light dark; }
body { margin: 0 auto; max-width: 40rem; padding: 12vh 1.2rem; font: 16px/1.5 system-ui, sans-serif;
  color: light-dark(#16202c, #e9e7e1); background: light-dark(#fbfaf7, #12161c); }
h1 { font-size: 1.45rem; line-height: 1.25; }
p { overflow-wrap: anywhere; }
a { color: light-dark(#14599a, #8cc4ff); }
"""

PAGE = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{heading} – Camreel</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{heading}</h1>
<p lang="en">{status} · {detail}</p>
<p><a href="{link}">{link_text}</a></p>
</main>
</body>
</html>
"""


def negotiate_problem(
    problem: dict[str, Any], request: Request, response: Response
) -> tuple[dict[str, Any], Response]:
    """The problem with its response: a page if the request prefers HTML to JSON."""
    response.headers.add_vary_header("Accept")
    available = ("application/problem+json", "text/html")
    preferred = negotiate_media_type(request.headers.get("accept", ""), available)
    if request.method not in SAFE_METHODS or preferred != "text/html":
        return problem, response
    language = negotiate_language(request.headers.get("accept-language", ""), tuple(HEADINGS))
    page = HTMLResponse(_page(problem, request, language), response.status_code)
    kept = {name: value for name, value in response.headers.items() if name not in page.headers}
    page.headers.update(kept)
    page.headers["content-security-policy"] = CONTENT_SECURITY_POLICY
    page.headers.add_vary_header("Accept-Language")
    return problem, page


def _page(problem: Mapping[str, Any], request: Request, language: str) -> str:
    status = problem["status"]
    heading = HEADINGS[language].get(status, OTHER_HEADING[language])
    return PAGE.format(
        language=language,
        heading=heading,
        style=STYLE,
        status=status,
        detail=escape(problem.get("detail") or problem["title"]),
        link=escape(f"{path_to_root(request.scope)}app"),
        link_text=LINK[language],
    )
