"""Hosts and origins are read by their grammar, and other sites' pages load nothing."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.app import create_app
from service.authority import Authority, parse_authority, parse_origin
from service.settings import Settings
from tests.access.conftest import Guarded
from tests.access.routes import Route, routes_of

ROUTES = routes_of(create_app(Settings()))
HEALTH = {"/healthz", "/readyz"}

BAD_HOSTS = [
    "localhost#evil", "localhost#", "loc\talhost", " localhost", "localhost ", "localhost\r\n",
    "localhost\n", "localhost/", "localhost/x", "localhost\\", "localhost?x", "a@localhost",
    "a:b@localhost", "@localhost", "localhost:80:80", "localhost:x", "localhost:-1",
    "localhost:99999", "localhost:８０", "localhost:80 ", "http://localhost", "//localhost",
    "[localhost]", "[127.0.0.1]", "[::1", "::1", "[::1]x", "[::1%25lo]", "[::1%lo]", "[]", "",
    ":8000", "localhost,localhost", "localhost, evil", "local\x00host", "ｌocalhost", "%zz",
    "localhost%00", "%6cocalhost", "localhost;", "127.1", "0x7f.0.0.1", "2130706433", "localhost.",
    "ſlocalhost", "localhost\x85", "localhost\xa0", "local\xadhost",
]  # fmt: skip


@pytest.mark.parametrize("host", BAD_HOSTS, ids=ascii)
def test_a_host_that_is_not_exactly_ours_is_400(shared: Guarded, host: str) -> None:
    headers = {"host": host.encode("utf-8")}
    for path in ("/runs", "/app", "/docs"):
        answer = shared.ask("GET", path, "admin", headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (400, "host-refused")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "localhost:8000", "localhost:", "127.0.0.1:1", "[::1]",
             "[::1]:8000", "[0:0:0:0:0:0:0:1]"],
)  # fmt: skip
def test_our_hosts_are_answered(shared: Guarded, host: str) -> None:
    assert shared.ask("GET", "/runs", "read", headers={"host": host}).status_code == 200


def test_no_host_or_two_of_them_is_400(shared: Guarded) -> None:
    for hosts in ([], [b"localhost", b"localhost"]):
        status, _ = shared.get_raw("/runs", [(b"host", host) for host in hosts])
        assert status == 400


def test_authorities_are_read() -> None:
    assert parse_authority("A.Example:08000") == Authority("a.example", 8000)
    assert parse_authority("[2001:DB8:0::1]") == Authority("2001:db8::1")
    assert str(parse_origin("HTTPS://[::1]:443")) == "https://[::1]"
    assert str(parse_origin("http://x.example:443")) == "http://x.example:443"


@pytest.mark.parametrize(
    "origin",
    ["http://127.0.0.1:8000/", "http://127.0.0.1:8000#", "http://127.0.0.1:8000?", " null",
     "http://127.0.0.1\t:8000", "http://a@127.0.0.1:8000", "http:127.0.0.1:8000",
     "//127.0.0.1:8000", "http://127.0.0.1:8000\\x", "http://", "", "http://127.0.0.1:8000, http://127.0.0.1:8000"],
    ids=ascii,
)  # fmt: skip
def test_an_origin_that_is_not_exactly_ours_is_403_on_a_change(
    shared: Guarded, origin: str
) -> None:
    answer = shared.ask("POST", "/runs/9/cancel", "run", headers={"origin": origin})
    assert (answer.status_code, answer.json()["type"]) == (403, "origin-refused")


BAD_SETTINGS = {
    "allowed_hosts": ["http://x.example", "x.example:80", "x/y", "a b", "*", "*.*.x", "x..y", "-x",
                      "x#y", "x\ty", "a@b", "[x]", "::g"],
    "cors_origins": ["*", "null", "x.example", "https://x.example/", "https://", "https://a@x",
                     "https://x y", "https://x#y"],
    "trusted_proxies": ["proxy", "10.0.0.1/8", "10.0.0.0/33", "x y"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "text"), [(name, text) for name, texts in BAD_SETTINGS.items() for text in texts]
)
def test_settings_that_could_never_match_are_refused(setting: str, text: str) -> None:
    with pytest.raises(ValidationError, match=setting):
        Settings(**{setting: text})


def test_settings_are_read_as_browsers_write_them() -> None:
    settings = Settings(allowed_hosts="X.Example, [2001:DB8::0:1]", cors_origins="HTTPS://X:443")
    assert settings.allowed_hosts == ("x.example", "2001:db8::1")
    assert settings.cors_origins == ("https://x",)


def test_what_a_proxy_forwards_as_a_client_is_repeated_only_if_it_is_an_address(
    guarded: Any,
) -> None:
    service = guarded()
    for client, name in [("x\x1b[31m", "unknown"), ("fe80::1%<b>", "fe80::1")]:
        service.ask("POST", "/session", json={"token": "no"}, client=(client, 1))
        entries = service.ask("GET", "/audit", "admin").json()["items"]
        assert entries[0]["actor"] == f"unknown at {name}"


IMAGE = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.mark.parametrize("route", [r for r in ROUTES if r.method == "GET"], ids=str)
@pytest.mark.parametrize(
    "headers",
    [
        IMAGE,
        IMAGE | {"sec-fetch-site": "same-site"},  # any other port of localhost
        IMAGE | {"sec-fetch-dest": "script"},
        IMAGE | {"sec-fetch-mode": "cors", "sec-fetch-dest": "empty", "origin": "http://x.example"},
        IMAGE | {"sec-fetch-mode": "websocket", "sec-fetch-dest": "websocket"},
        LINK | {"sec-fetch-dest": "iframe"},
        LINK | {"sec-fetch-dest": "embed"},
        LINK | {"sec-fetch-dest": "object"},
        LINK | {"sec-purpose": "prefetch;prerender"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "something new"},
        {"sec-fetch-site": ""},
    ],
    ids=lambda headers: " ".join(headers.values()),
)
def test_other_sites_pages_load_nothing_but_health(
    shared: Guarded, route: Route, headers: dict[str, str]
) -> None:
    for method in ("GET", "HEAD"):
        answer = shared.ask(method, route.path, "admin", headers=headers)
        if route.template in HEALTH:
            assert answer.status_code == 200
        else:
            assert answer.status_code == 403
    if route.template not in HEALTH:
        answer = shared.ask("GET", route.path, "admin", headers=headers)
        assert answer.json()["type"] == "cross-site-refused"


def test_an_open_service_is_closed_to_other_sites_pages(guarded: Any) -> None:
    service = guarded(claimed=False)
    costly = "/runs/1/epochs/1/evaluation?images=1000&method=smooth-grad"
    assert service.ask("GET", costly, headers=IMAGE).status_code == 403
    assert service.ask("GET", costly).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        LINK,
        LINK | {"sec-fetch-site": "same-site", "sec-fetch-user": "?1"},
        IMAGE | {"sec-fetch-site": "same-origin"},
        LINK | {"sec-fetch-site": "none"},
        {},
    ],
    ids=lambda headers: " ".join(headers.values()) or "none",
)
def test_links_our_own_page_and_programs_are_answered(
    shared: Guarded, headers: dict[str, str]
) -> None:
    for path in ("/app", "/runs", "/docs"):
        assert shared.ask("GET", path, "read", headers=headers).status_code == 200


def test_a_link_changes_nothing(shared: Guarded) -> None:
    answer = shared.ask("POST", "/runs/9/cancel", "run", headers=LINK)
    assert (answer.status_code, answer.json()["type"]) == (403, "origin-refused")


def test_origins_that_are_set_may_load(guarded: Any) -> None:
    service = guarded(cors_origins="https://notebook.example")
    cors = IMAGE | {"sec-fetch-mode": "cors", "origin": "https://notebook.example"}
    assert service.ask("GET", "/runs", "read", headers=cors).status_code == 200
    assert service.ask("GET", "/runs", "read", headers=IMAGE).status_code == 403
    other = cors | {"origin": "https://other.example"}
    assert service.ask("GET", "/runs", "read", headers=other).status_code == 403
