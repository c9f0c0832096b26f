"""`Idempotency-Key` and the limit of the queue over HTTP."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.idle_executor import IdleExecutor
from tests.uploads.conftest import Application
from tests.uploads.pictures import png, slope

BODY = {"dataset": "digits", "epochs": 1}


@pytest.fixture
def new_idle_application(new_application: Callable[..., Application]) -> Callable[..., Application]:
    """Creates an application whose runs stay queued."""

    def make(**settings: Any) -> Application:
        app = new_application(**settings)
        app.app.state.services = replace(app.services, executor=IdleExecutor())
        return app

    return make


def post_run_request(key: str, **options: Any) -> tuple[str, str, dict[str, Any]]:
    return "POST", "/runs", {"headers": {"Idempotency-Key": key}, "json": BODY, **options}


def test_twenty_simultaneous_identical_posts_create_one_run(
    new_idle_application: Callable[..., Application],
) -> None:
    app = new_idle_application()
    responses = app.request_concurrently([post_run_request("a key")] * 20)
    assert {response.status_code for response in responses} == {201}
    assert {response.headers["location"] for response in responses} == {"/runs/1"}
    assert {response.json()["id"] for response in responses} == {1}
    replayed = [response.headers.get("idempotent-replayed") for response in responses]
    assert sorted(filter(None, replayed)) == ["true"] * 19
    assert len(app.request("GET", "/runs").json()["items"]) == 1
    assert len(app.services.executor.tasks) == 1


def test_another_body_with_the_same_key_is_422(
    new_idle_application: Callable[..., Application],
) -> None:
    app = new_idle_application()
    app.request_concurrently([post_run_request("k")])
    (response,) = app.request_concurrently([post_run_request("k", json=BODY | {"epochs": 2})])
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["errors"][0]["field"] == "Idempotency-Key"
    assert len(app.request("GET", "/runs").json()["items"]) == 1


def test_without_a_key_each_post_creates_a_run(
    new_idle_application: Callable[..., Application],
) -> None:
    app = new_idle_application()
    responses = app.request_concurrently([("POST", "/runs", {"json": BODY})] * 5)
    assert {response.json()["id"] for response in responses} == set(range(1, 6))
    assert not any("idempotent-replayed" in response.headers for response in responses)


@pytest.mark.parametrize("key", ["", "k" * 129, "tab\tinside", "Schlüssel".encode()])
def test_invalid_key_is_422(
    new_idle_application: Callable[..., Application], key: str | bytes
) -> None:
    app = new_idle_application()
    response = app.request("POST", "/runs", headers={"Idempotency-Key": key}, json=BODY)
    assert response.status_code == 422
    assert app.request("GET", "/runs").json()["items"] == []


def test_longest_key_is_accepted(new_idle_application: Callable[..., Application]) -> None:
    (response,) = new_idle_application().request_concurrently([post_run_request("~" * 128)])
    assert response.status_code == 201


def test_upload_with_a_key_is_stored_once(new_idle_application: Callable[..., Application]) -> None:
    app = new_idle_application()
    headers = {"Idempotency-Key": "k"}
    first_response, second_response = (app.upload(png(slope()), headers=headers) for _ in range(2))
    assert (first_response.status_code, second_response.status_code) == (201, 201)
    assert first_response.content == second_response.content
    assert "idempotent-replayed" not in first_response.headers
    assert second_response.headers["idempotent-replayed"] == "true"
    assert app.upload(png(slope().T), headers=headers).status_code == 422
    # Runs and uploads share the keys of a client.
    (run,) = app.request_concurrently([post_run_request("k")])
    assert run.status_code == 422


def test_full_queue_is_429_with_retry_after(
    new_idle_application: Callable[..., Application],
) -> None:
    app = new_idle_application(max_queued_runs=3)
    responses = app.request_concurrently([("POST", "/runs", {"json": BODY})] * 10)
    assert sorted(response.status_code for response in responses) == [201] * 3 + [429] * 7
    for response in responses:
        if response.status_code == 429:
            assert response.headers["retry-after"] == "30"
            assert response.headers["content-type"] == "application/problem+json"
            assert response.json()["type"] == "queue-full"
    assert len(app.request("GET", "/runs").json()["items"]) == 3


def test_resumed_run_counts_against_the_queue_limit(
    new_idle_application: Callable[..., Application],
) -> None:
    app = new_idle_application(max_queued_runs=1)
    app.request("POST", "/runs", json=BODY)
    app.request("POST", "/runs/1/cancel")
    app.request("POST", "/runs", json=BODY)
    response = app.request("POST", "/runs/1/resume", json={})
    assert (response.status_code, response.json()["type"]) == (429, "queue-full")
