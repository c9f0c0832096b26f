"""Jobs in the stream of `GET /events`."""

import json
from typing import Any

import pytest

from tests.pools.conftest import Application, Blockade, wait_until

EVALUATION = "/runs/1/epochs/1/evaluation?images=2&measure=complexity"


def start(service: Application, url: str = EVALUATION) -> int:
    return int(service.get(url, prefer="respond-async").json()["id"])


def parse_events(body: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Name and data of each event; events of jobs have no id."""
    events = []
    for block in body.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if lines:
            events.append((lines["event"], json.loads(lines["data"])))
            assert "id" not in lines or "run_id" in events[-1][1]
    return events


def test_job_is_sent_at_the_start_and_at_each_change_until_its_end(
    new_application, blockade: Blockade
) -> None:
    service = new_application()
    job_id = start(service)
    wait_until(lambda: service.job(job_id)["status"] == "running")
    stream = service.send(f"/events?jobs={job_id}")
    wait_until(lambda: b"running" in stream.received)
    blockade.lifted.set()
    events = parse_events(stream.response().body)
    assert {name for name, _ in events} == {"job"}
    assert {data["job_id"] for _, data in events} == {job_id}
    statuses = [data["status"] for _, data in events]
    assert (statuses[0], statuses[-1]) == ("running", "succeeded")
    document = {key: value for key, value in events[-1][1].items() if key != "job_id"}
    assert document == service.job(job_id)


def test_cancelled_job_ends_its_stream(new_application, blockade: Blockade) -> None:
    service = new_application()
    job_id = start(service)
    stream = service.send(f"/events?jobs={job_id}")
    wait_until(lambda: b"event: job" in stream.received)
    assert service.send(f"/jobs/{job_id}", "DELETE").response().status == 202
    events = parse_events(stream.response().body)
    assert events[-1][1]["status"] == "cancelled"


def test_runs_and_jobs_share_one_stream(new_application) -> None:
    service = new_application()
    job_id = start(service)
    wait_until(lambda: service.job(job_id)["status"] == "succeeded")
    events = parse_events(service.get(f"/events?runs=1,77&jobs={job_id},999").body)
    jobs = [(name, data["job_id"]) for name, data in events if "job_id" in data]
    assert sorted(jobs) == [("gone", 999), ("job", job_id)]
    runs = [(name, data["run_id"]) for name, data in events if "run_id" in data]
    assert ("gone", 77) in runs
    assert [run for run in runs if run[0] == "epoch"] == [("epoch", 1)] * 3


@pytest.mark.parametrize("query", ["jobs=", "jobs=0", "jobs=x", "jobs=" + "1," * 200 + "1"])
def test_invalid_ids_are_refused_with_their_limits(new_application, query: str) -> None:
    response = new_application().get(f"/events?{query}")
    assert response.status == 422
    (error,) = response.json()["errors"]
    assert error["field"] in ("jobs", "runs")
    assert error["allowed"]["maxItems"] == 200
