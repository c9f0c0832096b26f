"""Every route requires a token with its scope.

A missing or invalid token is 401, an insufficient scope 403. A foreign Host is 400 on every route
except health.
"""

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import APIRouter

from service.api.route_table import RouteTable
from service.api.scopes import ScopeNotDeclared, requires
from service.app import RESOURCES, create_app
from service.settings import Settings
from tests.access.conftest import INVALID_TOKENS, GuardedService
from tests.access.routes import Route, routes_of

APP = create_app(Settings())
TABLE: RouteTable = APP.state.routes
ROUTES = routes_of(APP)
PROTECTED = [route for route in ROUTES if TABLE.scope_of(route.method, route.template) is not None]
HEALTH = {"/healthz", "/readyz"}
PUBLIC = {"/", "/app", "/app/{path:path}", *HEALTH}

every_protected_route = pytest.mark.parametrize("route", PROTECTED, ids=str)


def expect_problem(response: Any, status: int, kind: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == kind


def test_every_route_has_a_scope_or_is_public() -> None:
    assert len(ROUTES) > 40
    assert {(route.method, route.template) for route in ROUTES} <= set(TABLE.scopes)
    for route in ROUTES:
        assert TABLE.template_of(route.path) == route.template


def test_endpoint_without_a_declared_scope_is_refused() -> None:
    router = APIRouter()

    @router.get("/declared")
    @requires("read")
    def declared() -> None: ...

    assert RouteTable.of([router], {}).scopes == {("GET", "/declared"): "read"}

    @router.get("/undeclared")
    def undeclared() -> None: ...

    with pytest.raises(ScopeNotDeclared, match=r"undeclared lacks @requires"):
        RouteTable.of([router], {})


def test_service_with_an_undeclared_scope_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    router = APIRouter()
    router.add_api_route("/undeclared", lambda: None)
    resource = SimpleNamespace(router=router)
    monkeypatch.setattr("service.app.RESOURCES", (*RESOURCES, resource))
    with pytest.raises(ScopeNotDeclared):
        create_app(Settings())


def test_only_health_and_the_page_are_public() -> None:
    public = {(r.method, r.template) for r in ROUTES} - {(r.method, r.template) for r in PROTECTED}
    assert public == {("GET", template) for template in PUBLIC} | {("POST", "/session")}


def test_changes_require_scope_run_or_admin() -> None:
    for route in PROTECTED:
        if route.method != "GET" and route.template not in ("/session", "/jobs/{job_id}"):
            assert TABLE.scope_of(route.method, route.template) in ("run", "admin")
    assert TABLE.scope_of("DELETE", "/runs/{run_id}") == "admin"


def test_unknown_route_requires_scope_admin(guarded_service: GuardedService) -> None:
    assert TABLE.scope_of("PUT", "/runs/{run_id}") == TABLE.scope_of("GET", None) == "admin"
    expect_problem(guarded_service.request("GET", "/nowhere"), 401, "unauthenticated")
    expect_problem(guarded_service.request("GET", "/nowhere", "run"), 403, "scope-missing")
    assert guarded_service.request("GET", "/nowhere", "admin").status_code == 404
    assert guarded_service.request("PUT", "/runs", "admin").status_code == 405


@every_protected_route
def test_missing_token_is_401(guarded_service: GuardedService, route: Route) -> None:
    response = guarded_service.request(route.method, route.path)
    expect_problem(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.headers["cache-control"] == "no-store"


@every_protected_route
@pytest.mark.parametrize("token", INVALID_TOKENS)
def test_invalid_tokens_are_401_with_equal_bodies(
    guarded_service: GuardedService, route: Route, token: str
) -> None:
    response = guarded_service.request(route.method, route.path, token)
    expect_problem(response, 401, "unauthenticated")
    assert response.content == guarded_service.request(route.method, route.path).content


@every_protected_route
def test_insufficient_scope_is_403_and_the_required_scope_is_accepted(
    guarded_service: GuardedService, route: Route
) -> None:
    required_scope = TABLE.scope_of(route.method, route.template)
    scopes = ["read", "run", "admin"]
    for scope in scopes[: scopes.index(str(required_scope))]:
        expect_problem(
            guarded_service.request(route.method, route.path, scope), 403, "scope-missing"
        )
    if route.template == "/runs" and route.method == "POST":
        response = guarded_service.request("POST", "/runs", required_scope, json={"epochs": -1})
    else:
        response = guarded_service.request(route.method, route.path, required_scope)
    assert response.status_code not in (401, 403, 500), response.text


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_foreign_host_is_400_except_for_health(
    guarded_service: GuardedService, route: Route
) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "0.0.0.0", ""):
        response = guarded_service.request(
            route.method, route.path, "admin", headers={"host": host}
        )
        if route.template in HEALTH:
            assert response.status_code == 200
        else:
            expect_problem(response, 400, "host-refused")


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
def test_change_from_a_foreign_origin_is_403(
    guarded_service: GuardedService, route: Route, headers: dict[str, str]
) -> None:
    expect_problem(
        guarded_service.request(route.method, route.path, "admin", headers=headers),
        403,
        "origin-refused",
    )


def test_same_origin_can_make_changes(guarded_service: GuardedService) -> None:
    for origin in ("http://127.0.0.1:8000", "https://127.0.0.1:8000"):
        headers = {"origin": origin, "sec-fetch-site": "same-origin"}
        assert (
            guarded_service.request("POST", "/runs/9/cancel", "run", headers=headers).status_code
            == 404
        )


def test_foreign_origin_gets_no_cors_headers(guarded_service: GuardedService) -> None:
    response = guarded_service.request(
        "GET", "/runs", "read", headers={"origin": "http://evil.example"}
    )
    assert response.status_code == 200
    assert "access-control-allow-origin" not in response.headers
    assert response.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer  ", "bearer x y", "Bearer \xff", "Token abc"],
)
def test_invalid_authorization_headers_are_401(
    guarded_service: GuardedService, authorization: str
) -> None:
    headers = {"authorization": authorization.encode("latin-1")}
    expect_problem(guarded_service.request("GET", "/runs", headers=headers), 401, "unauthenticated")


def test_token_is_accepted_in_the_header_only(guarded_service: GuardedService) -> None:
    token = guarded_service.tokens["admin"]
    for query in (f"token={token}", f"access_token={token}", f"search={token}", "a=1&api_key=x"):
        for path in ("/runs", "/app", "/healthz"):
            expect_problem(
                guarded_service.request("GET", f"{path}?{query}"), 400, "secret-in-address"
            )
    expect_problem(
        guarded_service.request("GET", "/runs", headers={"x-api-key": token}),
        401,
        "unauthenticated",
    )
    cookies = {"cookie": f"camreel_session={token}"}
    expect_problem(guarded_service.request("GET", "/runs", headers=cookies), 401, "unauthenticated")


def test_configured_hosts_are_200(new_guarded_service: Any) -> None:
    service = new_guarded_service(allowed_hosts="cams.example.org, *.lab.example")
    for host in ("cams.example.org", "CAMS.example.org:443", "a.lab.example", "b.a.lab.example"):
        assert service.request("GET", "/runs", "read", headers={"host": host}).status_code == 200
    for host in ("lab.example", "example.org", "xlab.example"):
        expect_problem(
            service.request("GET", "/runs", "read", headers={"host": host}), 400, "host-refused"
        )


def test_configured_origins_can_use_the_api_with_a_token(new_guarded_service: Any) -> None:
    origin = "https://notebook.example"
    service = new_guarded_service(cors_origins=origin)
    preflight = {"origin": origin, "access-control-request-method": "POST"}
    preflight["access-control-request-headers"] = "authorization, content-type"
    preflight_response = service.request("OPTIONS", "/runs", headers=preflight)
    assert preflight_response.status_code == 200
    assert preflight_response.headers["access-control-allow-origin"] == origin
    assert "access-control-allow-credentials" not in preflight_response.headers
    change = {"origin": origin, "sec-fetch-site": "cross-site"}
    response = service.request("POST", "/runs/9/cancel", "run", headers=change)
    assert response.status_code == 404
    assert response.headers["access-control-allow-origin"] == origin
    unauthenticated_response = service.request("POST", "/runs/9/cancel", headers=change)
    assert unauthenticated_response.status_code == 401
    assert unauthenticated_response.headers["access-control-allow-origin"] == origin
    other_origin = {"origin": "https://evil.example"}
    expect_problem(
        service.request("POST", "/runs/9/cancel", "run", headers=other_origin),
        403,
        "origin-refused",
    )
