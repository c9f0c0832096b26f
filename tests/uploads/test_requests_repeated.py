"""`Idempotency-Key` and the queue's bound, as clients see them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.idle_executor import IdleExecutor
from tests.uploads.conftest import Asked
from tests.uploads.pictures import png, slope

BODY = {"dataset": "digits", "epochs": 1}


@pytest.fixture
def waiting(application: Callable[..., Asked]) -> Callable[..., Asked]:
    """Makes an application whose runs wait for ever."""

    def make(**settings: Any) -> Asked:
        app = application(**settings)
        app.app.state.services = replace(app.services, executor=IdleExecutor())
        return app

    return make


def keyed(key: str, **options: Any) -> tuple[str, str, dict[str, Any]]:
    return "POST", "/runs", {"headers": {"Idempotency-Key": key}, "json": BODY, **options}


def test_twenty_identical_posts_at_once_are_one_run(waiting: Callable[..., Asked]) -> None:
    app = waiting()
    answers = app.ask_at_once([keyed("a key of mine")] * 20)
    assert {answer.status_code for answer in answers} == {201}
    assert {answer.headers["location"] for answer in answers} == {"/runs/1"}
    assert {answer.json()["id"] for answer in answers} == {1}
    replayed = [answer.headers.get("idempotent-replayed") for answer in answers]
    assert sorted(filter(None, replayed)) == ["true"] * 19
    assert len(app.ask("GET", "/runs").json()["items"]) == 1
    assert len(app.services.executor.jobs) == 1


def test_another_body_under_the_key_is_422_and_names_it(waiting: Callable[..., Asked]) -> None:
    app = waiting()
    app.ask_at_once([keyed("k")])
    (answer,) = app.ask_at_once([keyed("k", json=BODY | {"epochs": 2})])
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert len(app.ask("GET", "/runs").json()["items"]) == 1


def test_without_a_key_each_post_is_a_run(waiting: Callable[..., Asked]) -> None:
    app = waiting()
    answers = app.ask_at_once([("POST", "/runs", {"json": BODY})] * 5)
    assert {answer.json()["id"] for answer in answers} == set(range(1, 6))
    assert not any("idempotent-replayed" in answer.headers for answer in answers)


@pytest.mark.parametrize("key", ["", "k" * 129, "tab\tinside", "Schlüssel".encode()])
def test_a_key_that_is_none_is_422(waiting: Callable[..., Asked], key: str | bytes) -> None:
    app = waiting()
    answer = app.ask("POST", "/runs", headers={"Idempotency-Key": key}, json=BODY)
    assert answer.status_code == 422
    assert app.ask("GET", "/runs").json()["items"] == []


def test_the_longest_key_is_taken(waiting: Callable[..., Asked]) -> None:
    (answer,) = waiting().ask_at_once([keyed("~" * 128)])
    assert answer.status_code == 201


def test_an_upload_under_a_key_is_done_once(waiting: Callable[..., Asked]) -> None:
    app = waiting()
    headers = {"Idempotency-Key": "k"}
    first_response, second_response = (app.upload(png(slope()), headers=headers) for _ in range(2))
    assert (first_response.status_code, second_response.status_code) == (201, 201)
    assert first_response.content == second_response.content
    assert "idempotent-replayed" not in first_response.headers
    assert second_response.headers["idempotent-replayed"] == "true"
    assert app.upload(png(slope().T), headers=headers).status_code == 422
    # A run's key and an upload's are one client's names for its requests.
    (run,) = app.ask_at_once([keyed("k")])
    assert run.status_code == 422


def test_a_full_queue_is_429_and_says_when_to_come_back(waiting: Callable[..., Asked]) -> None:
    app = waiting(max_queued_runs=3)
    answers = app.ask_at_once([("POST", "/runs", {"json": BODY})] * 10)
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [429] * 7
    for answer in answers:
        if answer.status_code == 429:
            assert answer.headers["retry-after"] == "30"
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["type"] == "queue-full"
    assert len(app.ask("GET", "/runs").json()["items"]) == 3


def test_a_run_that_goes_on_waits_in_the_same_queue(waiting: Callable[..., Asked]) -> None:
    app = waiting(max_queued_runs=1)
    app.ask("POST", "/runs", json=BODY)
    app.ask("POST", "/runs/1/cancel")
    app.ask("POST", "/runs", json=BODY)
    answer = app.ask("POST", "/runs/1/resume", json={})
    assert (answer.status_code, answer.json()["type"]) == (429, "queue-full")
