"""Prepared responses: sent from memory, to whoever may have them, until the database changes."""

import io
import json
import sqlite3
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.flows import access
from service.store import audit, epochs, run_lifecycle
from service.store.data_version import DataVersion
from tests.access.conftest import GuardedService

CAM = "/runs/1/epochs/1/cam"
SPEC = {
    "dataset": "digits",
    "epochs": 1,
    "samples_per_epoch": 50,
    "architecture": {"channels": [2, 3], "hidden_units": 8},
}


def prepare(service: GuardedService) -> httpx.Response:
    """Have the response for CAM prepared; the response that was resolved."""
    for _ in range(3):  # it is computed, then its row is recorded, then it is cached
        response = service.request("GET", CAM, "read")
        assert response.status_code == 200, response.text
        service.app.state.services.pipeline.recorder.flush()
    return response


def hits(service: GuardedService) -> int:
    return int(service.app.state.services.prepared_answers.hits)


def is_prepared(service: GuardedService, path: str = CAM, **headers: str) -> bool:
    """Whether the request is answered from memory."""
    hits_before = hits(service)
    service.request("GET", path, "read", headers=headers)
    return hits(service) > hits_before


def with_run(service: GuardedService) -> GuardedService:
    assert service.request("POST", "/runs", "run", json=SPEC).status_code == 201
    return service


@pytest.fixture(scope="module")
def prepared(trained_service: GuardedService) -> GuardedService:
    prepare(trained_service)
    assert is_prepared(trained_service)
    return trained_service


@pytest.fixture
def changing(new_guarded_service: Callable[..., GuardedService]) -> GuardedService:
    """An application of a test's own with a prepared response."""
    service = with_run(new_guarded_service())
    prepare(service)
    assert is_prepared(service)
    return service


def test_prepared_answers_equal_resolved_ones(prepared: GuardedService) -> None:
    prepared.app.state.services.prepared_answers._answers.clear()
    etag = prepare(prepared).headers["etag"]
    for headers, status in (({}, 200), ({"if-none-match": etag}, 304)):
        prepared.app.state.services.prepared_answers._answers.clear()
        resolved, from_memory = (
            prepared.request("GET", CAM, "read", headers=headers) for _ in range(2)
        )
        assert (resolved.status_code, from_memory.status_code) == (status, status)
        assert from_memory.content == resolved.content
        assert comparable(from_memory) == comparable(resolved)
    assert hits(prepared) >= 2


def test_answer_is_whole_after_a_304(changing: GuardedService) -> None:
    first = prepare(changing)
    with_run(changing)
    headers = {"if-none-match": first.headers["etag"]}
    for status, condition in ((304, headers), (200, {})):
        response = changing.request("GET", CAM, "read", headers=condition)
        assert response.status_code == status
    assert response.content == first.content
    assert comparable(response) == comparable(first)


def comparable(response: httpx.Response) -> dict[str, str]:
    """Headers that do not count requests."""
    return {k: v for k, v in response.headers.items() if k not in ("x-request-id", "ratelimit")}


@pytest.mark.parametrize("conditional", [False, True])
def test_access_control_applies_to_prepared_answers(
    prepared: GuardedService, conditional: bool
) -> None:
    etag = prepare(prepared).headers["etag"]
    headers = {"if-none-match": etag} if conditional else {}
    expected = 304 if conditional else 200
    assert is_prepared(prepared, **headers)
    hits_before = hits(prepared)
    refusals = {
        "no token": prepared.request("GET", CAM, headers=headers),
        "unknown token": prepared.request("GET", CAM, "unknown", headers=headers),
        "expired token": prepared.request("GET", CAM, "expired", headers=headers),
        "secret in the query": prepared.request("GET", f"{CAM}?token=x", "read", headers=headers),
        "foreign host": prepared.request(
            "GET", CAM, "read", headers=headers, base="http://evil.test"
        ),
        "cross-site": prepared.request(
            "GET", CAM, "read", headers=headers | {"sec-fetch-site": "cross-site"}
        ),
    }
    statuses = {name: response.status_code for name, response in refusals.items()}
    assert all(400 <= status < 500 for status in statuses.values()), statuses
    assert statuses["no token"] == statuses["unknown token"] == statuses["expired token"] == 401
    assert hits(prepared) == hits_before
    response = prepared.request("GET", CAM, "admin", headers=headers)
    assert response.status_code == expected
    assert response.headers["x-request-id"]
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]


def test_revoked_token_gets_no_prepared_answer(changing: GuardedService) -> None:
    with changing.store() as store:
        secret, token = access.create_token(store, "short-lived", "read", None, "test")
        changing.clear_credential_cache()
        assert changing.request("GET", CAM, secret).status_code == 200
        access.revoke_token(store, token.id, "test")
    changing.clear_credential_cache()  # a credential is cached for less than a second
    assert changing.request("GET", CAM, secret).status_code == 401


def test_prepared_answers_are_counted_by_limits_logs_and_metrics(
    new_guarded_service: Callable[..., GuardedService],
) -> None:
    service = with_run(new_guarded_service(rate_limit="9/minute", log_requests=True))
    prepare(service)
    remaining, lines = [], io.StringIO()
    with redirect_stderr(lines):
        while (response := service.request("GET", CAM, "read")).status_code == 200:
            remaining.append(response.headers["ratelimit"].split(";")[1])
    assert response.status_code == 429
    assert remaining == [f"r={number}" for number in range(5, -1, -1)]
    records = [json.loads(line) for line in lines.getvalue().splitlines()]
    requests = [record for record in records if record["event"] == "request"]
    assert [record["status"] for record in requests] == [200] * 6 + [429]
    assert {record["route"] for record in requests} == {"/runs/{run_id}/epochs/{epoch}/cam"}
    assert {record["principal"] for record in requests} == {"reader"}
    metrics = service.request("GET", "/metrics", "admin").text
    sample = 'camreel_cache_requests_total{cache="prepared_answers",result="hit"}'
    (line,) = [line for line in metrics.splitlines() if line.startswith(sample)]
    assert float(line.split()[-1]) >= 5


@pytest.mark.parametrize("change", ["delete", "quarantine", "unrelated"])
def test_commit_ends_prepared_answers(changing: GuardedService, change: str) -> None:
    with changing.store() as store, store.write_session() as session:
        if change == "delete":
            run_lifecycle.mark_deleted(session, 1)
        elif change == "quarantine":
            assert epochs.quarantine(session, 1, 1, "damaged")
        else:
            audit.record(session, "another process", "token create", "token 9", "done")
    assert not is_prepared(changing)
    statuses = {"delete": 404, "quarantine": 410, "unrelated": 200}
    assert changing.request("GET", CAM, "read").status_code == statuses[change]


def test_other_representations_are_resolved(prepared: GuardedService) -> None:
    content = prepare(prepared).content
    part = prepared.request("GET", CAM, "read", headers={"range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, content[1:4])
    head = prepared.request("HEAD", CAM, "read")
    assert (head.status_code, head.content) == (200, b"")
    job = prepared.request("GET", CAM, "read", headers={"prefer": "respond-async"})
    assert job.status_code in (200, 202)
    assert not is_prepared(prepared, accept="image/avif")
    assert prepared.request("GET", f"{CAM}?image=test:5", "read").content != content


def test_health_is_constant(prepared: GuardedService) -> None:
    responses = [prepared.request("GET", "/healthz") for _ in range(2)]
    assert [response.json() for response in responses] == [{"status": "ok"}] * 2
    assert comparable(responses[0]) == comparable(responses[1])
    etag = responses[0].headers["etag"]
    assert prepared.request("GET", "/healthz", headers={"if-none-match": etag}).status_code == 304


def test_version_of_a_file_follows_commits_and_replacement(tmp_path: Path) -> None:
    file, replacement = tmp_path / "a.db", tmp_path / "b.db"
    version = DataVersion(file)
    assert version.read() is None
    for path in (file, replacement):
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE numbers (number INTEGER)")
        database.close()
    versions: list[Any] = [version.read()]
    assert version.read() == versions[0]
    with sqlite3.connect(file) as database:
        database.execute("INSERT INTO numbers VALUES (1)")
    database.close()
    versions.append(version.read())
    replacement.replace(file)
    versions.append(version.read())
    assert None not in versions
    assert len(set(versions)) == 3
    file.unlink()
    assert version.read() is None
    version.close()
