"""Event streams: every event once, in order, resumable at any event."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.conftest import Service
from tests.http.test_http_refusals import expect_problem

STOP_TIMEOUT_SECONDS = 30
MAX_DELAY_SECONDS = 3.0  # far longer than a poll, for busy machines


def events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """Events of a stream as they arrive, without comments."""
    event: dict[str, Any] = {}
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if line == "":
            if "event" in event:
                yield event
            event = {}
        elif name == "data":
            event["data"] = json.loads(value)
        elif name:
            event[name] = value


def stream(http: httpx.Client, run: str, **params: Any) -> Any:
    return http.stream("GET", f"{run}/events", timeout=60, **params)


def all_events(http: httpx.Client, run: str, **params: Any) -> list[dict[str, Any]]:
    with stream(http, run, **params) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "no-cache" in response.headers["cache-control"]
        return list(events(response))


def test_stream_of_a_finished_run_has_all_events_and_ends(
    http: httpx.Client, finished_run: dict[str, Any]
) -> None:
    run = f"/runs/{finished_run['id']}"
    received_events = all_events(http, run)
    assert [event["id"] for event in received_events] == [str(n) for n in range(1, 8)]
    assert [event["event"] for event in received_events] == ["status"] * 2 + ["epoch"] * 4 + [
        "status"
    ]
    for number, event in enumerate(received_events[2:6]):
        assert event["data"] == http.get(f"{run}/epochs/{number}").json()
    queued, running, succeeded = (received_events[i]["data"] for i in (0, 1, 6))
    assert succeeded == http.get(run).json()
    # Past events have the state at that time, so no client considers the run finished too early.
    for data, status in ((queued, "queued"), (running, "running")):
        assert (data["status"], data["epochs_done"], data["finished_at"]) == (status, -1, None)
        assert (data["id"], data["spec"]) == (finished_run["id"], finished_run["spec"])
    assert queued["started_at"] is None
    assert running["started_at"] == finished_run["started_at"]


def test_stream_resumes_without_gaps_or_duplicates(
    http: httpx.Client, finished_run: dict[str, Any]
) -> None:
    run = f"/runs/{finished_run['id']}"
    all_sent_events = all_events(http, run)
    for number in (0, 1, 4, 7):
        header = {"headers": {"Last-Event-ID": str(number)}}
        assert all_events(http, run, **header) == all_sent_events[number:]
        assert all_events(http, run, params={"after": number}) == all_sent_events[number:]
    options = {"headers": {"Last-Event-ID": "5"}, "params": {"after": 2}}
    assert all_events(http, run, **options) == all_sent_events[5:]


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "1_0", "8", "99999999999", "%00"])
def test_invalid_event_number_is_refused(
    http: httpx.Client, finished_run: dict[str, Any], number: str
) -> None:
    run = f"/runs/{finished_run['id']}"
    body = expect_problem(http.get(f"{run}/events?after={number}"), 422)
    assert [error["field"] for error in body["errors"]] == ["after"]
    body = expect_problem(http.get(f"{run}/events", headers={"Last-Event-ID": number}), 422)
    assert [error["field"] for error in body["errors"]] == ["Last-Event-ID"]


def test_events_of_a_missing_run_are_404(http: httpx.Client) -> None:
    expect_problem(http.get("/runs/999999/events"), 404)


def test_stream_follows_a_run_from_queued_to_its_end(service: Service) -> None:
    run_id = service.post_run(dataset="digits", epochs=4, samples_per_epoch=300)
    run, delays = f"/runs/{run_id}", []
    received_events: list[dict[str, Any]] = []
    with stream(service.http, run) as response:
        for event in events(response):
            received_events.append(event)
            if event["event"] == "epoch":
                created_at = datetime.fromisoformat(event["data"]["created_at"])
                delays.append((datetime.now(UTC) - created_at).total_seconds())
    numbered = [event for event in received_events if "id" in event]
    assert numbered == all_events(service.http, run)
    assert [event["id"] for event in numbered] == [str(n) for n in range(1, 9)]
    assert numbered[-1]["data"]["status"] == "succeeded"
    assert [e["data"]["epoch"] for e in numbered if e["event"] == "epoch"] == [0, 1, 2, 3, 4]
    assert max(delays) < MAX_DELAY_SECONDS
    assert {event["event"] for event in received_events} - {"progress"} == {"status", "epoch"}


@pytest.fixture
def training(service: Service) -> Iterator[int]:
    """A run that trains until the test ends."""
    # One epoch of 1,500 images in batches of one takes far longer than the test.
    run_id = service.post_run(dataset="digits", epochs=50, batch_size=1)
    service.wait(run_id, lambda run: run["status"] == "running")
    yield run_id
    service.http.post(f"/runs/{run_id}/cancel")


def test_streams_report_progress_cancellation_and_deletion(service: Service, training: int) -> None:
    queued_run_id = service.post_run(dataset="digits", epochs=1)
    with stream(service.http, f"/runs/{queued_run_id}") as response:
        received_events = events(response)
        queued = next(received_events)["data"]
        assert (queued["status"], queued["progress"]["queue_position"]) == ("queued", None)
        assert next(received_events)["data"]["queue_position"] == 1
        assert service.run(queued_run_id)["progress"]["queue_position"] == 1
        assert service.http.delete(f"/runs/{queued_run_id}").status_code == 204
        assert list(received_events) == []
    with (
        stream(service.http, f"/runs/{training}") as response,
        stream(service.http, f"/runs/{training}", params={"after": 1}) as other_response,
    ):
        received_events, other_events = events(response), events(other_response)
        progress = next(
            e for e in received_events if e["event"] == "progress" and e["data"]["images_seen"]
        )
        assert "id" not in progress
        assert progress["data"] == progress["data"] | {
            "phase": "training",
            "queue_position": None,
            "seconds_per_epoch": None,
            "epoch": 1,
        }
        assert service.run(training)["progress"]["phase"] == "training"
        assert 0 < progress["data"]["images_seen"] < progress["data"]["images_total"] == 1500
        service.http.post(f"/runs/{training}/cancel")
        last = list(received_events)[-1]
        assert last["data"]["status"] == "cancelled"
        numbered = [event["id"] for event in other_events if "id" in event]
        assert numbered == [str(n) for n in range(2, int(last["id"]) + 1)]


def test_stream_of_a_resumed_run_continues_after_its_last_event(service: Service) -> None:
    run_id = service.post_run(dataset="digits", epochs=1, samples_per_epoch=200)
    run = f"/runs/{run_id}"
    finished_run = service.wait(run_id)
    assert str(finished_run["last_event"]) == all_events(service.http, run)[-1]["id"] == "5"
    resumed = service.http.post(f"{run}/resume", json={"epochs": 2}).json()
    assert (resumed["status"], resumed["last_event"]) == ("queued", 6)
    # A client that resumes here does not receive the event of the run's first end.
    received_events = all_events(service.http, run, params={"after": resumed["last_event"]})
    statuses = [(e["id"], e["data"]["status"]) for e in received_events if e["event"] == "status"]
    assert statuses == [("7", "running"), ("9", "succeeded")]
    assert [(e["id"], e["data"]["epoch"]) for e in received_events if e["event"] == "epoch"] == [
        ("8", 2)
    ]
    all_sent_events = [e["data"] for e in all_events(service.http, run) if e["event"] == "status"]
    assert [event["last_event"] for event in all_sent_events] == [1, 2, 5, 6, 7, 9]
    assert all_sent_events[-1] == service.run(run_id)


def test_stopping_service_ends_its_streams(new_service: Callable[..., Service]) -> None:
    service = new_service()
    run_id = service.post_run(dataset="digits", epochs=50, batch_size=1)
    with stream(service.http, f"/runs/{run_id}") as response:
        received_events = events(response)
        next(received_events)
        service.process.terminate()
        list(received_events)
        service.process.wait(STOP_TIMEOUT_SECONDS)
