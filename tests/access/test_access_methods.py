"""HEAD wherever GET is, and `Allow` complete on every path: table-driven over all routes."""

from typing import Any

import pytest

from service.app import create_app
from service.settings import Settings
from tests.access.conftest import Guarded
from tests.access.routes import Route, routes_of
from tests.lanes.conftest import wait_until

APP = create_app(Settings())
ROUTES = routes_of(APP)
PATHS = sorted({route.template for route in ROUTES})
GETS = [route for route in ROUTES if route.method == "GET"]
QUERIES = {"/images/{reference}": "?dataset=digits", "/events": "?runs=1"}  # what they require
CHANGING = {"x-request-id", "ratelimit", "date"}  # from one request to the next


def methods_of(template: str) -> set[str]:
    own = {route.method for route in ROUTES if route.template == template}
    return own | {"OPTIONS"} | ({"HEAD"} if "GET" in own else set())


def allow(answer: Any) -> set[str]:
    return set(answer.headers["allow"].split(", "))


def test_the_table_of_scopes_has_the_applications_routes_and_no_others() -> None:
    assert {(route.method, route.template) for route in ROUTES} == set(APP.state.routes.scopes)


@pytest.fixture(scope="module")
def with_job(trained: Guarded) -> Guarded:
    """With an ended job, whose id is 1."""
    prefer = {"prefer": "respond-async"}
    assert trained.ask("GET", "/runs/1/sheet", "read", headers=prefer).json()["id"] == 1
    wait_until(lambda: trained.ask("GET", "/jobs/1", "read").json()["finished_at"])
    return trained


@pytest.mark.parametrize("route", GETS, ids=str)
def test_head_has_the_head_of_get_and_no_body(with_job: Guarded, route: Route) -> None:
    trained = with_job
    query = QUERIES.get(route.template, "")
    token = "admin" if route.template == "/audit" else "read"
    get = trained.ask("GET", route.path + query, token)
    head = trained.ask("HEAD", route.path + query, token)
    assert get.status_code in (200, 307), get.text
    assert head.status_code == get.status_code
    assert head.content == b""
    told = [{k: v for k, v in a.headers.items() if k not in CHANGING} for a in (head, get)]
    if route.template in ("/metrics", "/readyz"):  # their content changes
        told = [set(headers) for headers in told]
    assert told[0] == told[1]


def test_head_of_the_events_ends_at_once_though_the_run_goes_on(guarded: Any) -> None:
    service = guarded()
    # Never dispatched: a run that waits, whose stream has no end.
    service.app.state.services.executor.submit = lambda *_: None
    body = {"dataset": "digits", "epochs": 1}
    run = service.ask("POST", "/runs", "run", json=body).json()
    assert run["status"] == "queued"
    head = service.ask("HEAD", f"/runs/{run['id']}/events", "read")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize(
    "path", ["/runs/999", "/runs/x", "/nowhere", "/runs/1/epochs/7/checkpoint"]
)
@pytest.mark.parametrize("token", ["admin", None])
def test_head_of_an_error_is_its_head(trained: Guarded, path: str, token: str | None) -> None:
    get, head = (trained.ask(method, path, token) for method in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


def test_head_needs_what_get_needs(trained: Guarded) -> None:
    for route in GETS:
        without = [trained.ask(method, route.path).status_code for method in ("GET", "HEAD")]
        assert without[0] == without[1]
    assert trained.ask("HEAD", "/audit", "run").status_code == 403


@pytest.mark.parametrize("template", PATHS)
def test_options_names_all_methods_of_the_path(trained: Guarded, template: str) -> None:
    answer = trained.ask("OPTIONS", Route("GET", template).path, "read")
    assert (answer.status_code, answer.content) == (204, b"")
    assert allow(answer) == methods_of(template)


@pytest.mark.parametrize("template", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "BREW"])
def test_a_method_that_a_path_lacks_is_405_with_all_it_has(
    trained: Guarded, template: str, method: str
) -> None:
    if method in methods_of(template):
        return
    answer = trained.ask(method, Route("GET", template).path, "admin")
    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/problem+json"
    assert allow(answer) == methods_of(template)


def test_options_tells_nothing_to_those_who_may_ask_nothing(trained: Guarded) -> None:
    assert trained.ask("OPTIONS", "/runs").status_code == 401
    assert trained.ask("OPTIONS", "/runs", "nonsense").status_code == 401
    assert trained.ask("OPTIONS", "/nowhere", "admin").status_code == 404
    assert trained.ask("OPTIONS", "/healthz").status_code == 204


def test_the_schema_has_no_head() -> None:
    for path, operations in APP.openapi()["paths"].items():
        assert set(operations) <= {"get", "post", "delete"}, path
        assert {operation.upper() for operation in operations} <= methods_of(path)
