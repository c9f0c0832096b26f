"""Every route asks for a token of its scope: missing, wrong, expired or revoked ones are 401, one
of too small a scope 403. A foreign Host is 400 on every route but health."""

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import APIRouter

from service.api.route_table import RouteTable
from service.api.scopes import ScopeNotDeclared, requires
from service.app import RESOURCES, create_app
from service.settings import Settings
from tests.access.conftest import BAD, Guarded
from tests.access.routes import Route, routes_of

APP = create_app(Settings())
TABLE: RouteTable = APP.state.routes
ROUTES = routes_of(APP)
GUARDED = [route for route in ROUTES if TABLE.scope_of(route.method, route.template) is not None]
HEALTH = {"/healthz", "/readyz"}
PUBLIC = {"/", "/app", "/app/{path:path}", *HEALTH}

every_guarded = pytest.mark.parametrize("route", GUARDED, ids=str)


def problem(answer: Any, status: int, kind: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == kind


def test_every_route_of_the_application_stands_in_the_table() -> None:
    assert len(ROUTES) > 40
    assert {(route.method, route.template) for route in ROUTES} <= set(TABLE.scopes)
    for route in ROUTES:
        assert TABLE.template_of(route.path) == route.template


def test_an_endpoint_without_a_declared_scope_is_refused() -> None:
    router = APIRouter()

    @router.get("/declared")
    @requires("read")
    def declared() -> None: ...

    assert RouteTable.of([router], {}).scopes == {("GET", "/declared"): "read"}

    @router.get("/undeclared")
    def undeclared() -> None: ...

    with pytest.raises(ScopeNotDeclared, match=r"undeclared lacks @requires"):
        RouteTable.of([router], {})


def test_a_resource_without_a_declared_scope_keeps_the_service_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    router = APIRouter()
    router.add_api_route("/undeclared", lambda: None)
    resource = SimpleNamespace(router=router)
    monkeypatch.setattr("service.app.RESOURCES", (*RESOURCES, resource))
    with pytest.raises(ScopeNotDeclared):
        create_app(Settings())


def test_only_health_and_the_pages_files_need_no_token() -> None:
    public = {(r.method, r.template) for r in ROUTES} - {(r.method, r.template) for r in GUARDED}
    assert public == {("GET", template) for template in PUBLIC} | {("POST", "/session")}


def test_what_changes_something_needs_more_than_reading() -> None:
    for route in GUARDED:
        if route.method != "GET" and route.template not in ("/session", "/jobs/{job_id}"):
            assert TABLE.scope_of(route.method, route.template) in ("run", "admin")
    assert TABLE.scope_of("DELETE", "/runs/{run_id}") == "admin"


def test_a_route_that_is_in_no_table_needs_an_administrator(shared: Guarded) -> None:
    assert TABLE.scope_of("PUT", "/runs/{run_id}") == TABLE.scope_of("GET", None) == "admin"
    problem(shared.ask("GET", "/nowhere"), 401, "unauthenticated")
    problem(shared.ask("GET", "/nowhere", "run"), 403, "scope-missing")
    assert shared.ask("GET", "/nowhere", "admin").status_code == 404
    assert shared.ask("PUT", "/runs", "admin").status_code == 405


@every_guarded
def test_without_a_token_is_401(shared: Guarded, route: Route) -> None:
    answer = shared.ask(route.method, route.path)
    problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["cache-control"] == "no-store"


@every_guarded
@pytest.mark.parametrize("token", BAD)
def test_a_bad_token_is_401_and_no_kind_of_bad_is_told(
    shared: Guarded, route: Route, token: str
) -> None:
    answer = shared.ask(route.method, route.path, token)
    problem(answer, 401, "unauthenticated")
    assert answer.content == shared.ask(route.method, route.path).content


@every_guarded
def test_a_smaller_scope_is_403_and_the_right_one_is_let_by(shared: Guarded, route: Route) -> None:
    needed = TABLE.scope_of(route.method, route.template)
    scopes = ["read", "run", "admin"]
    for scope in scopes[: scopes.index(str(needed))]:
        problem(shared.ask(route.method, route.path, scope), 403, "scope-missing")
    if route.template == "/runs" and route.method == "POST":
        answer = shared.ask("POST", "/runs", needed, json={"epochs": 0})
    else:
        answer = shared.ask(route.method, route.path, needed)
    assert answer.status_code not in (401, 403, 500), answer.text


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_a_foreign_host_is_400_but_for_health(shared: Guarded, route: Route) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "0.0.0.0", ""):
        answer = shared.ask(route.method, route.path, "admin", headers={"host": host})
        if route.template in HEALTH:
            assert answer.status_code == 200
        else:
            problem(answer, 400, "host-refused")


@pytest.mark.parametrize("route", [r for r in ROUTES if r.method != "GET"], ids=str)
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "null"},
        {"origin": "http://[broken"},
        {"sec-fetch-site": "cross-site"},
    ],
    ids=lambda headers: str(next(iter(headers.values()))),
)
def test_a_foreign_origin_on_a_change_is_403(
    shared: Guarded, route: Route, headers: dict[str, str]
) -> None:
    problem(shared.ask(route.method, route.path, "admin", headers=headers), 403, "origin-refused")


def test_our_own_origin_may_change_things(shared: Guarded) -> None:
    for origin in ("http://127.0.0.1:8000", "https://127.0.0.1:8000"):
        headers = {"origin": origin, "sec-fetch-site": "same-origin"}
        assert shared.ask("POST", "/runs/9/cancel", "run", headers=headers).status_code == 404


def test_a_foreign_origin_may_read_what_its_browser_will_not_show_it(shared: Guarded) -> None:
    answer = shared.ask("GET", "/runs", "read", headers={"origin": "http://evil.example"})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    "shown",
    ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer  ", "bearer x y", "Bearer \xff", "Token abc"],
)
def test_other_authorizations_are_401(shared: Guarded, shown: str) -> None:
    headers = {"authorization": shown.encode("latin-1")}
    problem(shared.ask("GET", "/runs", headers=headers), 401, "unauthenticated")


def test_a_token_is_taken_from_the_header_alone(shared: Guarded) -> None:
    token = shared.tokens["admin"]
    for query in (f"token={token}", f"access_token={token}", f"search={token}", "a=1&api_key=x"):
        for path in ("/runs", "/app", "/healthz"):
            problem(shared.ask("GET", f"{path}?{query}"), 400, "secret-in-address")
    problem(shared.ask("GET", "/runs", headers={"x-api-key": token}), 401, "unauthenticated")
    cookies = {"cookie": f"camreel_session={token}"}
    problem(shared.ask("GET", "/runs", headers=cookies), 401, "unauthenticated")


def test_names_that_are_allowed_are_answered(guarded: Any) -> None:
    service = guarded(allowed_hosts="cams.example.org, *.lab.example")
    for host in ("cams.example.org", "CAMS.example.org:443", "a.lab.example", "b.a.lab.example"):
        assert service.ask("GET", "/runs", "read", headers={"host": host}).status_code == 200
    for host in ("lab.example", "example.org", "xlab.example"):
        problem(service.ask("GET", "/runs", "read", headers={"host": host}), 400, "host-refused")


def test_origins_that_are_set_may_use_the_api_with_a_token(guarded: Any) -> None:
    origin = "https://notebook.example"
    service = guarded(cors_origins=origin)
    asks = {"origin": origin, "access-control-request-method": "POST"}
    asks["access-control-request-headers"] = "authorization, content-type"
    granted = service.ask("OPTIONS", "/runs", headers=asks)
    assert granted.status_code == 200
    assert granted.headers["access-control-allow-origin"] == origin
    assert "access-control-allow-credentials" not in granted.headers
    change = {"origin": origin, "sec-fetch-site": "cross-site"}
    answer = service.ask("POST", "/runs/9/cancel", "run", headers=change)
    assert answer.status_code == 404
    assert answer.headers["access-control-allow-origin"] == origin
    refused = service.ask("POST", "/runs/9/cancel", headers=change)
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == origin
    other = {"origin": "https://evil.example"}
    problem(service.ask("POST", "/runs/9/cancel", "run", headers=other), 403, "origin-refused")
