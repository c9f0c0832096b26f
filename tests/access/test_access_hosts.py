"""Hosts and origins are parsed by their grammar; pages of other sites cannot load anything."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.app import create_app
from service.authority import Authority, parse_authority, parse_origin
from service.settings import Settings
from tests.access.conftest import GuardedService
from tests.access.routes import Route, routes_of

ROUTES = routes_of(create_app(Settings()))
HEALTH = {"/healthz", "/readyz"}

INVALID_HOSTS = [
    "localhost#evil", "localhost#", "loc\talhost", " localhost", "localhost ", "localhost\r\n",
    "localhost\n", "localhost/", "localhost/x", "localhost\\", "localhost?x", "a@localhost",
    "a:b@localhost", "@localhost", "localhost:80:80", "localhost:x", "localhost:-1",
    "localhost:99999", "localhost:８０", "localhost:80 ", "http://localhost", "//localhost",
    "[localhost]", "[127.0.0.1]", "[::1", "::1", "[::1]x", "[::1%25lo]", "[::1%lo]", "[]", "",
    ":8000", "localhost,localhost", "localhost, evil", "local\x00host", "ｌocalhost", "%zz",
    "localhost%00", "%6cocalhost", "localhost;", "127.1", "0x7f.0.0.1", "2130706433", "localhost.",
    "ſlocalhost", "localhost\x85", "localhost\xa0", "local\xadhost",
]  # fmt: skip


@pytest.mark.parametrize("host", INVALID_HOSTS, ids=ascii)
def test_host_that_is_not_exactly_allowed_is_400(
    guarded_service: GuardedService, host: str
) -> None:
    headers = {"host": host.encode("utf-8")}
    for path in ("/runs", "/app", "/docs"):
        response = guarded_service.request("GET", path, "admin", headers=headers)
        assert (response.status_code, response.json()["type"]) == (400, "host-refused")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "localhost:8000", "localhost:", "127.0.0.1:1", "[::1]",
             "[::1]:8000", "[0:0:0:0:0:0:0:1]"],
)  # fmt: skip
def test_allowed_hosts_are_200(guarded_service: GuardedService, host: str) -> None:
    assert (
        guarded_service.request("GET", "/runs", "read", headers={"host": host}).status_code == 200
    )


def test_missing_or_duplicate_host_is_400(guarded_service: GuardedService) -> None:
    for hosts in ([], [b"localhost", b"localhost"]):
        status, _ = guarded_service.get_raw("/runs", [(b"host", host) for host in hosts])
        assert status == 400


def test_authorities_are_parsed() -> None:
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
def test_change_from_an_origin_that_is_not_exactly_allowed_is_403(
    guarded_service: GuardedService, origin: str
) -> None:
    response = guarded_service.request("POST", "/runs/9/cancel", "run", headers={"origin": origin})
    assert (response.status_code, response.json()["type"]) == (403, "origin-refused")


INVALID_SETTINGS = {
    "allowed_hosts": ["http://x.example", "x.example:80", "x/y", "a b", "*", "*.*.x", "x..y", "-x",
                      "x#y", "x\ty", "a@b", "[x]", "::g"],
    "cors_origins": ["*", "null", "x.example", "https://x.example/", "https://", "https://a@x",
                     "https://x y", "https://x#y"],
    "trusted_proxies": ["proxy", "10.0.0.1/8", "10.0.0.0/33", "x y"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "text"),
    [(name, text) for name, texts in INVALID_SETTINGS.items() for text in texts],
)
def test_settings_that_can_never_match_are_refused(setting: str, text: str) -> None:
    with pytest.raises(ValidationError, match=setting):
        Settings(**{setting: text})


def test_settings_are_normalized_like_browsers_do() -> None:
    settings = Settings(allowed_hosts="X.Example, [2001:DB8::0:1]", cors_origins="HTTPS://X:443")
    assert settings.allowed_hosts == ("x.example", "2001:db8::1")
    assert settings.cors_origins == ("https://x",)


def test_forwarded_client_is_recorded_only_if_it_is_an_address(
    new_guarded_service: Any,
) -> None:
    service = new_guarded_service()
    for client, name in [("x\x1b[31m", "unknown"), ("fe80::1%<b>", "fe80::1")]:
        service.request("POST", "/session", json={"token": "no"}, client=(client, 1))
        entries = service.request("GET", "/audit", "admin").json()["items"]
        assert entries[0]["actor"] == f"unknown at {name}"


IMAGE = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.mark.parametrize("route", [r for r in ROUTES if r.method == "GET"], ids=str)
@pytest.mark.parametrize(
    "headers",
    [
        IMAGE,
        IMAGE | {"sec-fetch-site": "same-site"},  # for example another port of localhost
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
def test_pages_of_other_sites_can_load_only_health(
    guarded_service: GuardedService, route: Route, headers: dict[str, str]
) -> None:
    for method in ("GET", "HEAD"):
        response = guarded_service.request(method, route.path, "admin", headers=headers)
        if route.template in HEALTH:
            assert response.status_code == 200
        else:
            assert response.status_code == 403
    if route.template not in HEALTH:
        response = guarded_service.request("GET", route.path, "admin", headers=headers)
        assert response.json()["type"] == "cross-site-refused"


def test_open_service_refuses_pages_of_other_sites(new_guarded_service: Any) -> None:
    service = new_guarded_service(has_tokens=False)
    expensive_path = "/runs/1/epochs/1/evaluation?images=1000&method=smooth-grad"
    assert service.request("GET", expensive_path, headers=IMAGE).status_code == 403
    assert service.request("GET", expensive_path).status_code == 404


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
def test_links_same_origin_pages_and_programs_are_200(
    guarded_service: GuardedService, headers: dict[str, str]
) -> None:
    for path in ("/app", "/runs", "/docs"):
        assert guarded_service.request("GET", path, "read", headers=headers).status_code == 200


def test_cross_site_navigation_cannot_change_anything(guarded_service: GuardedService) -> None:
    response = guarded_service.request("POST", "/runs/9/cancel", "run", headers=LINK)
    assert (response.status_code, response.json()["type"]) == (403, "origin-refused")


def test_configured_origins_can_load(new_guarded_service: Any) -> None:
    service = new_guarded_service(cors_origins="https://notebook.example")
    cors = IMAGE | {"sec-fetch-mode": "cors", "origin": "https://notebook.example"}
    assert service.request("GET", "/runs", "read", headers=cors).status_code == 200
    assert service.request("GET", "/runs", "read", headers=IMAGE).status_code == 403
    other_origin = cors | {"origin": "https://other.example"}
    assert service.request("GET", "/runs", "read", headers=other_origin).status_code == 403
