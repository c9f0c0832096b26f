"""HEAD and `Allow` on all routes of the application."""

from typing import Any

import pytest

from service.app import create_app
from service.settings import Settings
from tests.access.conftest import GuardedService
from tests.access.routes import Route, routes_of
from tests.faults.tiny import DIVERGING, TINY
from tests.pools.conftest import wait_until

APP = create_app(Settings())
ROUTES = routes_of(APP)
PATHS = sorted({route.template for route in ROUTES})
OF_RECORDERS = ("/networks", "/tensors")  # tests/recorded has some
OF_OBJECTS = "/runs/{run_id}/exchange-map"  # the embedded digits fill their images
GETS = [
    route
    for route in ROUTES
    if route.method == "GET"
    and not route.template.startswith(OF_RECORDERS)
    and route.template != OF_OBJECTS
]
QUERIES = {"/images/{reference}": "?dataset=digits", "/events": "?runs=1"}  # required parameters
VARYING_HEADERS = {"x-request-id", "ratelimit", "date"}  # different in every response


def methods_of(template: str) -> set[str]:
    methods = {route.method for route in ROUTES if route.template == template}
    return methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())


def allow(response: Any) -> set[str]:
    return set(response.headers["allow"].split(", "))


def test_scope_table_has_exactly_the_routes_of_the_application() -> None:
    assert {(route.method, route.template) for route in ROUTES} == set(APP.state.routes.scopes)


@pytest.fixture(scope="module")
def service_with_job(trained_service: GuardedService) -> GuardedService:
    """The trained service with a finished job with id 1, and run 2, which has diverged."""
    prefer = {"prefer": "respond-async"}
    assert trained_service.request("GET", "/runs/1/sheet", "read", headers=prefer).json()["id"] == 1
    wait_until(lambda: trained_service.request("GET", "/jobs/1", "read").json()["finished_at"])
    assert trained_service.request("POST", "/runs", "run", json=DIVERGING).status_code == 201
    plan = {"base": TINY, "fields": {"architecture.dropout": {"values": [0.0, 0.5]}}}
    assert trained_service.request("POST", "/experiments", "run", json=plan).status_code == 201
    return trained_service


@pytest.mark.parametrize("route", GETS, ids=str)
def test_head_has_the_headers_of_get_and_no_body(
    service_with_job: GuardedService, route: Route
) -> None:
    trained_service = service_with_job
    path = route.path + QUERIES.get(route.template, "")
    if route.template == "/runs/{run_id}/divergence":
        path = path.replace("1", "2")
    token = "admin" if route.template == "/audit" else "read"
    get = trained_service.request("GET", path, token)
    head = trained_service.request("HEAD", path, token)
    assert get.status_code in (200, 307), get.text
    assert head.status_code == get.status_code
    assert head.content == b""
    headers_of_both = [
        {k: v for k, v in a.headers.items() if k not in VARYING_HEADERS} for a in (head, get)
    ]
    if route.template in ("/metrics", "/readyz"):  # their content varies
        headers_of_both = [set(headers) for headers in headers_of_both]
    assert headers_of_both[0] == headers_of_both[1]


def test_head_of_an_event_stream_ends_at_once(new_guarded_service: Any) -> None:
    service = new_guarded_service()
    # The run stays queued, so its event stream does not end.
    service.app.state.services.executor.submit = lambda *_: None
    body = {"dataset": "digits", "epochs": 1}
    run = service.request("POST", "/runs", "run", json=body).json()
    assert run["status"] == "queued"
    head = service.request("HEAD", f"/runs/{run['id']}/events", "read")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize(
    "path", ["/runs/999", "/runs/x", "/nowhere", "/runs/1/epochs/7/checkpoint"]
)
@pytest.mark.parametrize("token", ["admin", None])
def test_head_of_an_error_has_the_headers_of_get(
    trained_service: GuardedService, path: str, token: str | None
) -> None:
    get, head = (trained_service.request(method, path, token) for method in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


def test_head_requires_the_scope_of_get(trained_service: GuardedService) -> None:
    for route in GETS:
        statuses = [
            trained_service.request(method, route.path).status_code for method in ("GET", "HEAD")
        ]
        assert statuses[0] == statuses[1]
    assert trained_service.request("HEAD", "/audit", "run").status_code == 403


@pytest.mark.parametrize("template", PATHS)
def test_options_lists_all_methods_of_a_path(
    trained_service: GuardedService, template: str
) -> None:
    response = trained_service.request("OPTIONS", Route("GET", template).path, "read")
    assert (response.status_code, response.content) == (204, b"")
    assert allow(response) == methods_of(template)


@pytest.mark.parametrize("template", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "BREW"])
def test_unsupported_method_is_405_with_the_supported_ones(
    trained_service: GuardedService, template: str, method: str
) -> None:
    if method in methods_of(template):
        return
    response = trained_service.request(method, Route("GET", template).path, "admin")
    assert response.status_code == 405
    assert response.headers["content-type"] == "application/problem+json"
    assert allow(response) == methods_of(template)


def test_options_requires_a_token(trained_service: GuardedService) -> None:
    assert trained_service.request("OPTIONS", "/runs").status_code == 401
    assert trained_service.request("OPTIONS", "/runs", "nonsense").status_code == 401
    assert trained_service.request("OPTIONS", "/nowhere", "admin").status_code == 404
    assert trained_service.request("OPTIONS", "/healthz").status_code == 204


def test_schema_has_no_head() -> None:
    for path, operations in APP.openapi()["paths"].items():
        assert set(operations) <= {"get", "post", "put", "patch", "delete"}, path
        assert {operation.upper() for operation in operations} <= methods_of(path)
