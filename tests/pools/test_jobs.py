"""Jobs: expensive requests that are started, observed, fetched and cancelled."""

import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.core.progress import track
from service.errors import CheckpointCorrupt
from service.flows.doctor.checks import CHECKS
from service.flows.jobs import JobLimits, Jobs
from service.flows.maps import evaluation
from service.flows.server_names import server_name
from service.flows.thread_pools import PoolName, ThreadPool
from service.store import disk_space, jobs, schema
from service.store.jobs import JobResult
from service.store.store import open_store
from service.store_errors import StoreFull
from tests.pools.conftest import Application, Blockade, wait_until

EVALUATION = "/runs/1/epochs/1/evaluation?images=2&measure=complexity"


def test_job_has_the_bytes_and_headers_of_the_synchronous_response(new_application) -> None:
    service = new_application()
    accepted = service.get(EVALUATION, prefer="respond-async")
    assert accepted.status == 202, accepted.body
    assert accepted.headers["preference-applied"] == "respond-async"
    job = accepted.json()
    assert accepted.headers["location"] == f"/jobs/{job['id']}"
    assert job["kind"] == "evaluation"
    wait_until(lambda: service.job(job["id"])["status"] == "succeeded")
    finished_job = service.job(job["id"])
    assert finished_job["progress"] == 1
    assert finished_job["started_at"] <= finished_job["finished_at"]
    direct = service.get(EVALUATION)
    result = service.get(finished_job["result"]["href"])
    assert (result.status, result.body) == (200, direct.body)
    assert finished_job["result"]["bytes"] == len(direct.body)
    assert finished_job["result"]["media_type"] == "application/json"
    for headers in (result.headers, direct.headers):
        headers.pop("x-request-id")
    assert result.headers == direct.headers


def start(service: Application, url: str = EVALUATION) -> int:
    accepted = service.get(url, prefer="respond-async")
    assert accepted.status == 202, accepted.body
    return int(accepted.json()["id"])


def get_job(service: Application, job_id: int) -> jobs.Job:
    with service.services.store.read_session() as session:
        return jobs.get(session, job_id)


def status_of(service: Application, job_id: int) -> str:
    return str(service.job(job_id)["status"])


@pytest.mark.parametrize(
    "url",
    [
        "/runs/1/epochs/1/cam?method=lime",
        "/runs/1/epochs/1/cam.npy",
        "/runs/1/atlas.bin?method=layer-cam",
        "/runs/1/blanks.csv",
        "/runs/1/epochs.csv",
        "/runs/1/scores",
        "/runs/1/strip.webp?epochs=1:2",
        "/runs/1/strip.npz",
        "/runs/1/sheet",
        "/runs/1/report.html",
    ],
)
def test_every_kind_of_expensive_request_can_be_a_job(new_application, url: str) -> None:
    service = new_application()
    job_id = start(service, url)
    wait_until(lambda: status_of(service, job_id) == "succeeded")
    result, direct = service.get(f"/jobs/{job_id}/result"), service.get(url)
    assert result.body == direct.body
    for headers in (result.headers, direct.headers):
        for name in ("x-request-id", "content-security-policy"):
            headers.pop(name)
    assert result.headers == direct.headers


def test_invalid_request_is_refused_without_a_job(new_application) -> None:
    service = new_application()
    for url, status in [
        ("/runs/9/sheet", 404),
        ("/runs/9/epochs.csv", 404),
        ("/runs/1/epochs/7/evaluation", 404),
        ("/runs/1/sheet?method=beauty", 422),
    ]:
        assert service.get(url, prefer="respond-async").status == status
    assert service.get("/jobs").json()["items"] == []


def test_matching_etag_is_304_without_a_job(new_application) -> None:
    service = new_application()
    etag = service.get("/runs/1/sheet").headers["etag"]
    response = service.get("/runs/1/sheet", prefer="respond-async", if_none_match=etag)
    assert response.status == 304


def test_head_creates_no_job(new_application) -> None:
    service = new_application()
    response = service.send("/runs/1/sheet", "HEAD", prefer="respond-async").response()
    assert response.status == 200
    assert service.get("/jobs").json()["items"] == []


def test_running_job_has_progress_and_no_result(
    new_application, blockade: Blockade, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = new_application()
    reported = threading.Event()

    def evaluate(*_: object) -> list[object]:
        for step in track(range(4)):
            if step == 2:
                reported.set()
                blockade()
        return []

    monkeypatch.setattr(evaluation, "evaluate", evaluate)
    job_id = start(service)
    assert reported.wait(30)
    job = service.job(job_id)
    assert (job["status"], job["progress"], job["finished_at"]) == ("running", 0.5, None)
    assert service.get(f"/jobs/{job_id}/result").status == 404
    # Also recorded for other servers.
    wait_until(lambda: get_job(service, job_id).progress == 0.5)
    blockade.lifted.set()
    wait_until(lambda: status_of(service, job_id) == "succeeded")
    assert service.job(job_id)["progress"] == 1


def test_same_request_returns_its_unfinished_job(new_application, blockade: Blockade) -> None:
    service = new_application()
    first = start(service)
    assert start(service) == first
    assert start(service, EVALUATION + "&seed=1") != first
    blockade.lifted.set()
    wait_until(lambda: status_of(service, first) == "succeeded")
    assert start(service) != first


def test_cancelled_job_frees_its_thread(new_application, blockade: Blockade) -> None:
    service = new_application(batch_threads=1)
    running, queued = start(service), start(service, EVALUATION + "&seed=1")
    wait_until(lambda: status_of(service, running) == "running")
    assert status_of(service, queued) == "queued"
    for job_id in (queued, running):
        response = service.send(f"/jobs/{job_id}", "DELETE").response()
        assert response.status == 202
        assert response.json()["status"] == "cancelled"
    wait_until(lambda: service.loads()["batch"] == (0, 0))
    assert (blockade.start_count, blockade.end_count) == (1, 1)
    assert status_of(service, running) == status_of(service, queued) == "cancelled"
    assert service.get(f"/jobs/{running}/result").status == 404
    assert start(service) not in (running, queued)


def test_deleting_a_finished_job_removes_its_result(new_application) -> None:
    service = new_application()
    job_id = start(service)
    wait_until(lambda: status_of(service, job_id) == "succeeded")
    assert service.send(f"/jobs/{job_id}", "DELETE").response().status == 204
    for url in (f"/jobs/{job_id}", f"/jobs/{job_id}/result"):
        assert service.get(url).status == 404
    assert service.send(f"/jobs/{job_id}", "DELETE").response().status == 404
    assert blob_names(service) == set()


def blob_names(service: Application) -> set[str]:
    store = service.services.store
    with store.read_session() as session:
        return {blob.name for blob in store.blobs.list_blobs(session) if "jobs" in blob.name}


def test_failed_job_has_a_problem(new_application, monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluate(*_: object) -> None:
        raise CheckpointCorrupt("The checkpoint is not what was written.")

    service = new_application()
    monkeypatch.setattr(evaluation, "evaluate", evaluate)
    job_id = start(service)
    wait_until(lambda: status_of(service, job_id) == "failed")
    error = service.job(job_id)["error"]
    assert (error["type"], error["status"]) == ("checkpoint-corrupt", 410)
    result = service.get(f"/jobs/{job_id}/result")
    assert result.status == 410
    assert result.headers["content-type"] == "application/problem+json"


def test_unexpected_failure_is_an_internal_error_without_details(
    new_application, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = new_application()
    monkeypatch.setattr(evaluation, "evaluate", lambda *_: 1 / 0)
    job_id = start(service)
    wait_until(lambda: status_of(service, job_id) == "failed")
    assert service.job(job_id)["error"]["type"] == "internal-error"
    assert b"zero" not in service.get(f"/jobs/{job_id}/result").body


def test_result_beyond_the_quota_fails_the_job(
    new_application, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = new_application()
    job_id = start(service)
    wait_until(lambda: status_of(service, job_id) == "succeeded")

    def refuse(*_: object) -> None:
        raise StoreFull("The store is full.")

    monkeypatch.setattr(type(service.services.store.blobs), "put", refuse)
    job_id = start(service, EVALUATION + "&seed=1")
    wait_until(lambda: status_of(service, job_id) == "failed")
    assert service.job(job_id)["error"]["status"] == 507


def test_finished_jobs_are_removed_after_their_lifetime(new_application) -> None:
    service = new_application(job_seconds=1)
    job_id = start(service)
    wait_until(lambda: status_of(service, job_id) == "succeeded")
    wait_until(lambda: service.get(f"/jobs/{job_id}").status == 404)
    assert blob_names(service) == set()


def test_only_finished_jobs_are_removed_to_make_room(new_application, blockade: Blockade) -> None:
    service = new_application(max_jobs=2)
    blockade.lifted.set()
    finished_id = start(service)
    wait_until(lambda: status_of(service, finished_id) == "succeeded")
    blockade.lifted.clear()
    unfinished_ids = [start(service, f"{EVALUATION}&seed={seed}") for seed in (1, 2)]
    assert service.get(f"/jobs/{finished_id}").status == 404
    response = service.get(EVALUATION + "&seed=3", prefer="respond-async")
    assert (response.status, response.json()["type"]) == (503, "jobs-full")
    assert "retry-after" in response.headers
    assert [job["id"] for job in service.get("/jobs").json()["items"]] == unfinished_ids[::-1]


def test_jobs_are_listed_newest_first_in_pages(new_application) -> None:
    service = new_application()
    ids = [start(service, f"{EVALUATION}&seed={seed}") for seed in range(3)]
    first = service.get("/jobs?limit=2").json()
    assert [job["id"] for job in first["items"]] == ids[:0:-1]
    second = service.get(f"/jobs?limit=2&cursor={first['next']}").json()
    assert [job["id"] for job in second["items"]] == ids[:1]
    wait_until(lambda: not service.get("/jobs?status=running").json()["items"])


def test_jobs_of_a_stopping_service_are_interrupted(new_application, blockade: Blockade) -> None:
    service = new_application()
    job_id = start(service)
    wait_until(lambda: blockade.start_count == 1)
    service.services.thread_pools.close()
    service.services.jobs.close()
    error = service.job(job_id)["error"]
    assert error["type"] == "interrupted"
    assert service.get(f"/jobs/{job_id}/result").status == error["status"] == 409


def test_jobs_of_a_dead_server_are_interrupted_by_another(
    new_application, blockade: Blockade
) -> None:
    dead_server, other_server = new_application(lease_seconds=1), new_application(lease_seconds=1)
    job_id = start(dead_server)
    wait_until(lambda: blockade.start_count == 1)
    # While the server is alive, its heartbeats keep the job.
    with pytest.raises(AssertionError):
        wait_until(lambda: status_of(other_server, job_id) != "running", seconds=3)
    dead_server.services.background.request_stop()  # as if the process were killed
    wait_until(lambda: status_of(other_server, job_id) == "failed")
    assert other_server.job(job_id)["error"]["type"] == "interrupted"
    # A result that the dead server computes later has no effect.
    blockade.lifted.set()
    wait_until(lambda: blockade.end_count == 1)
    wait_until(lambda: dead_server.loads()["batch"] == (0, 0))
    assert status_of(other_server, job_id) == "failed"
    assert blob_names(other_server) == set()


def test_jobs_of_a_killed_process_are_interrupted_at_the_next_start(
    new_application, tmp_path: Path
) -> None:
    machine, _, _, unique = server_name().split(":")
    killed = subprocess.Popen(["/bin/true"])
    killed.wait()
    with open_store(tmp_path / "state" / "camreel.db") as store, store.write_session() as session:
        name = f"{machine}:{killed.pid}:1:{unique}"
        new = jobs.NewJob("sheet", "i" * 64, "anyone", "/runs/1/sheet", name)
        job_id = jobs.create(session, new)[0].id
    service = new_application(lease_seconds=600)
    wait_until(lambda: status_of(service, job_id) == "failed")
    assert service.job(job_id)["error"]["type"] == "interrupted"


def test_job_is_cancelled_and_fetched_through_another_server(
    new_application, blockade: Blockade
) -> None:
    server, other_server = new_application(), new_application()
    job_id = start(server)
    assert start(other_server) == job_id
    wait_until(lambda: blockade.start_count == 1)
    assert other_server.send(f"/jobs/{job_id}", "DELETE").response().status == 202
    wait_until(lambda: blockade.end_count == 1)
    wait_until(lambda: server.loads()["batch"] == (0, 0))
    blockade.lifted.set()
    job_id = start(server)
    wait_until(lambda: status_of(other_server, job_id) == "succeeded")
    assert other_server.get(f"/jobs/{job_id}/result").body == server.get(EVALUATION).body


def test_results_are_included_in_the_quota_and_the_doctor(new_application, tmp_path: Path) -> None:
    service = new_application(blobs=f"file:{tmp_path / 'blobs'}", job_seconds=1000)
    # The checkpoints are in the database, but recorded metrics need none.
    job_id = start(service, "/runs/1/epochs.csv")
    wait_until(lambda: status_of(service, job_id) == "succeeded")
    store = service.services.store
    with store.read_session() as session:
        assert jobs.blob_bytes(session) == service.job(job_id)["result"]["bytes"]
        assert disk_space.blob_bytes(session) > jobs.blob_bytes(session)
    assert blob_names(service) == {f"jobs/{job_id}/result"}
    assert not list(CHECKS["jobs"](store))
    os.utime(tmp_path / "blobs" / "jobs" / str(job_id) / "result", (0, 0))
    assert not [item for item in CHECKS["blobs"](store) if "jobs" in item.message]
    (tmp_path / "blobs" / "jobs" / str(job_id) / "result").write_bytes(b"other")
    (finding,) = CHECKS["jobs"](store)
    assert service.get(f"/jobs/{job_id}/result").status == 404
    assert finding.repair is not None
    with store.write_session() as session:
        finding.repair(session)
    assert service.get(f"/jobs/{job_id}").status == 404


@pytest.mark.postgres
def test_two_servers_on_postgresql_share_a_job(postgres_url, tmp_path) -> None:
    with open_store(postgres_url) as store:
        schema.ensure(store)
        pools = [ThreadPool(PoolName.BATCH, 1, 1) for _ in range(2)]
        bounds = JobLimits(max_jobs=10, result_seconds=100, lease_seconds=30)
        servers = [Jobs(store, pool, bounds) for pool in pools]
        computation_started, released = threading.Event(), threading.Event()

        def compute() -> JobResult:
            computation_started.set()
            released.wait(30)
            return JobResult(b"bytes", "text/plain", {"ETag": '"1"'})

        def start(server: Jobs) -> int:
            return server.start("sheet", "i" * 64, "anyone", "/runs/1/sheet", compute).id

        with ThreadPoolExecutor(8) as threads:
            ids = set(threads.map(start, servers * 4))
        (job_id,) = ids
        assert computation_started.wait(30)
        for server in servers:
            server.scan()
            assert server.get(job_id).status == "running"
        released.set()
        wait_until(lambda: servers[1].get(job_id).finished_at)
        assert servers[1].result(job_id).content == b"bytes"
        assert servers[1].cancel_or_remove(job_id, "anyone", any_owner=False) is None
        for pool in pools:
            pool.request_stop()
