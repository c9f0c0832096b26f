"""Metrics and readiness of the service."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from service.background import BackgroundTask
from service.flows import readiness
from service.store.database import BUSY_TIMEOUT_SECONDS
from tests.keeping.conftest import StateFolder
from tests.read_only import read_only

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations"
RULES = OPERATIONS / "alerts.yml"
DASHBOARD = OPERATIONS / "dashboard.json"


def read_metrics(client) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }


def test_metrics_count_runs_epochs_caches_and_bytes(state_folder):
    with state_folder.client() as client:
        state_folder.replace_checkpoint(2, None)
        for _ in range(2):
            client.get("/runs/1/epochs/1/cam")
        client.get("/runs/1/epochs/2/cam")
        metrics = read_metrics(client)
    assert metrics['camreel_runs{status="succeeded"}'] == 1
    assert metrics["camreel_epochs"] == 4
    assert metrics["camreel_quarantined_checkpoints"] == 1
    assert metrics["camreel_queue_length"] == metrics["camreel_oldest_heartbeat_age_seconds"] == 0
    hits = [
        metrics[f'camreel_cache_requests_total{{cache="{cache}",result="hit"}}']
        for cache in ("pictures", "prepared_answers")
    ]
    assert sum(hits) == 1
    assert metrics['camreel_cache_requests_total{cache="pictures",result="miss"}'] == 2
    assert metrics["camreel_blob_bytes"] > 4000
    assert metrics["camreel_store_bytes"] > metrics["camreel_blob_bytes"]
    assert metrics["camreel_disk_free_bytes"] > 0
    assert any(name.startswith("camreel_build_info{") for name in metrics)


def test_working_service_is_ready(state_folder):
    with state_folder.client() as client:
        assert client.get("/readyz").json() == {"status": "ready"}


@pytest.mark.parametrize("problem", ["locked", "schema", "disk", "executor"])
def test_unready_service_reports_the_problem(state_folder, problem):
    with state_folder.client(**({"min_free_bytes": 2**60} if problem == "disk" else {})) as client:
        with closing(sqlite3.connect(state_folder.file, isolation_level=None)) as connection:
            if problem == "locked":
                connection.execute("BEGIN IMMEDIATE")
            if problem == "schema":
                state_folder.execute("UPDATE alembic_version SET version_num = '9999'")
            if problem == "executor":
                client.app.state.services.executor.accepts_tasks = lambda: False
            response = client.get("/readyz")
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        assert response.json()["type"] == "not-ready"
        assert {"locked": "in time", "disk": "MIN_FREE"}.get(problem, problem) in response.json()[
            "detail"
        ]
        assert str(state_folder.folder) not in response.text
        assert client.get("/healthz").status_code == 200


def is_ready(client) -> tuple[int, str]:
    response = client.get("/readyz")
    return response.status_code, response.json().get("detail", "")


@pytest.fixture
def uncached_readiness(monkeypatch):
    """Checks readiness anew for each request."""
    monkeypatch.setattr(readiness, "REUSE_SECONDS", 0.0)


@pytest.mark.parametrize("read_only_part", ["file", "folder"])
def test_service_with_a_read_only_database_is_not_ready(
    state_folder, read_only_part, uncached_readiness
):
    with state_folder.client() as client:
        with read_only(state_folder.file if read_only_part == "file" else state_folder.folder):
            client.app.state.services.store.engine.dispose()
            status, detail = is_ready(client)
            assert (status, "read-only" in detail) == (503, True), detail
            response = client.post("/runs", json={"dataset": "digits"})
            assert (response.status_code, response.json()["type"]) == (503, "store-read-only")
            assert int(response.headers["retry-after"]) > 0
            assert client.get("/runs").status_code == 200
        assert is_ready(client) == (200, "")


def test_service_with_read_only_blobs_is_not_ready(state_folder, blob_type, uncached_readiness):
    if blob_type != "file":
        pytest.skip("its blobs are in the database")
    with state_folder.client() as client:
        with read_only(state_folder.folder / "blobs"):
            status, detail = is_ready(client)
            assert (status, "blobs" in detail) == (503, True), detail
        assert is_ready(client) == (200, "")


def test_service_on_a_full_disk_is_not_ready(state_folder, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        shutil.copytree(state_folder.folder, disk / "state")
        with StateFolder(disk / "state", state_folder.blob_type).client() as client:
            (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free))
            status, detail = is_ready(client)
            assert (status, "full" in detail) == (503, True), detail
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("statement", ["EXCLUSIVE", "IMMEDIATE"])
def test_locked_database_is_reported_quickly_by_one_thread(state_folder, statement):
    with (
        state_folder.client() as client,
        closing(sqlite3.connect(state_folder.file, isolation_level=None)) as connection,
    ):
        connection.execute(f"BEGIN {statement}")
        client.app.state.services.store.engine.dispose()  # new connections wait for the lock
        start = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda _: is_ready(client), range(8)))
        # Far less than a statement waits for a lock.
        assert time.monotonic() - start < BUSY_TIMEOUT_SECONDS - 3
        assert {status for status, _ in results} == {503}
        assert all("in time" in detail for _, detail in results)
        assert len([thread for thread in threading.enumerate() if thread.name == "readiness"]) <= 1
        connection.execute("ROLLBACK")


def test_service_with_a_moved_file_is_not_ready_until_it_is_back(state_folder, uncached_readiness):
    with state_folder.client() as client:
        state_folder.file.rename(state_folder.folder / "moved")
        assert is_ready(client)[0] == client.get("/runs").status_code == 503
        assert not state_folder.file.exists()
        (state_folder.folder / "moved").rename(state_folder.file)
        assert is_ready(client) == (200, "")
        assert client.get("/runs").status_code == 200


def test_service_with_a_missing_table_is_not_ready(state_folder, uncached_readiness):
    with state_folder.client() as client:
        state_folder.execute("ALTER TABLE runs RENAME TO runs_")
        assert is_ready(client)[0] == 503
        assert (response := client.get("/runs")).status_code == 503, response.text
        assert response.json()["type"] == "schema-mismatch"
        state_folder.execute("ALTER TABLE runs_ RENAME TO runs")
        assert is_ready(client) == (200, "")


def test_background_task_that_does_not_run_is_reported(state_folder):
    with state_folder.client() as client:
        background = client.app.state.services.background
        background._tasks.append(BackgroundTask("lost", lambda: None, interval_seconds=60))
        assert is_ready(client) == (503, "The background task lost does not run.")


def test_every_metric_of_rules_and_dashboard_is_exported(state_folder):
    rules = YAML(typ="safe").load(RULES)
    board = json.loads(DASHBOARD.read_text())
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    expressions += [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    names = {name for expression in expressions for name in re.findall(r"camreel_\w+", expression)}
    with state_folder.client() as client:
        client.get("/runs/1/epochs/1/cam")
        exported = {re.split(r"[{ ]", name)[0] for name in read_metrics(client)}
    assert len(names) > 6
    assert names <= exported


def test_every_alert_is_in_the_runbook():
    text = (OPERATIONS.parent / "operations.md").read_text()
    rules = YAML(typ="safe").load(RULES)
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert f"### {rule['alert']}" in text
