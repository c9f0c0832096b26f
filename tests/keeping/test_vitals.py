"""Metrics and readiness: what they count, and when the service says that it cannot work."""

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


def metrics(client) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }


def test_metrics_count_what_there_is(state_folder):
    with state_folder.client() as client:
        state_folder.replace_checkpoint(2, None)
        for _ in range(2):
            client.get("/runs/1/epochs/1/cam")
        client.get("/runs/1/epochs/2/cam")
        found = metrics(client)
    assert found['camreel_runs{status="succeeded"}'] == 1
    assert found["camreel_epochs"] == 4
    assert found["camreel_quarantined_checkpoints"] == 1
    assert found["camreel_queue_length"] == found["camreel_oldest_heartbeat_age_seconds"] == 0
    assert found['camreel_cache_requests_total{cache="pictures",result="hit"}'] == 1
    assert found['camreel_cache_requests_total{cache="pictures",result="miss"}'] == 2
    assert found["camreel_blob_bytes"] > 4000
    assert found["camreel_store_bytes"] > found["camreel_blob_bytes"]
    assert found["camreel_disk_free_bytes"] > 0
    assert any(name.startswith("camreel_build_info{") for name in found)


def test_a_service_that_can_work_is_ready(state_folder):
    with state_folder.client() as client:
        assert client.get("/readyz").json() == {"status": "ready"}


@pytest.mark.parametrize("why", ["locked", "schema", "disk", "executor"])
def test_a_service_that_cannot_work_says_why(state_folder, why):
    with state_folder.client(**({"min_free_bytes": 2**60} if why == "disk" else {})) as client:
        with closing(sqlite3.connect(state_folder.file, isolation_level=None)) as other:
            if why == "locked":
                other.execute("BEGIN IMMEDIATE")
            if why == "schema":
                state_folder.execute("UPDATE alembic_version SET version_num = '9999'")
            if why == "executor":
                client.app.state.services.executor.accepts_tasks = lambda: False
            answer = client.get("/readyz")
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["type"] == "not-ready"
        assert {"locked": "in time", "disk": "MIN_FREE"}.get(why, why) in answer.json()["detail"]
        assert str(state_folder.folder) not in answer.text
        assert client.get("/healthz").status_code == 200


def is_ready(client) -> tuple[int, str]:
    answer = client.get("/readyz")
    return answer.status_code, answer.json().get("detail", "")


@pytest.fixture
def unhurried(monkeypatch):
    """Each request gets a check of its own."""
    monkeypatch.setattr(readiness, "REUSE_SECONDS", 0.0)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_service_whose_database_is_read_only_is_not_ready(state_folder, what, unhurried):
    with state_folder.client() as client:
        with read_only(state_folder.file if what == "file" else state_folder.folder):
            client.app.state.services.store.engine.dispose()
            status, why = is_ready(client)
            assert (status, "read-only" in why) == (503, True), why
            refused = client.post("/runs", json={"dataset": "digits"})
            assert (refused.status_code, refused.json()["type"]) == (503, "store-read-only")
            assert int(refused.headers["retry-after"]) > 0
            assert client.get("/runs").status_code == 200
        assert is_ready(client) == (200, "")


def test_a_service_whose_blobs_cannot_be_written_is_not_ready(state_folder, blob_type, unhurried):
    if blob_type != "file":
        pytest.skip("its blobs are in the database")
    with state_folder.client() as client:
        with read_only(state_folder.folder / "blobs"):
            status, why = is_ready(client)
            assert (status, "blobs" in why) == (503, True), why
        assert is_ready(client) == (200, "")


def test_a_service_whose_disk_is_full_is_not_ready(state_folder, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        shutil.copytree(state_folder.folder, disk / "state")
        with StateFolder(disk / "state", state_folder.blob_type).client() as client:
            (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free))
            status, why = is_ready(client)
            assert (status, "full" in why) == (503, True), why
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("statement", ["EXCLUSIVE", "IMMEDIATE"])
def test_a_locked_database_is_told_in_two_seconds_by_one_thread(state_folder, statement):
    with (
        state_folder.client() as client,
        closing(sqlite3.connect(state_folder.file, isolation_level=None)) as other,
    ):
        other.execute(f"BEGIN {statement}")
        client.app.state.services.store.engine.dispose()  # whoever connects waits for the lock
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: is_ready(client), range(8)))
        # Far below what a statement waits for a lock.
        assert time.monotonic() - began < BUSY_TIMEOUT_SECONDS - 3
        assert {status for status, _ in answers} == {503}
        assert all("in time" in why for _, why in answers)
        assert len([one for one in threading.enumerate() if one.name == "readiness"]) <= 1
        other.execute("ROLLBACK")


def test_a_file_that_was_moved_away_is_told_and_back_again_at_once(state_folder, unhurried):
    with state_folder.client() as client:
        state_folder.file.rename(state_folder.folder / "moved")
        assert is_ready(client)[0] == client.get("/runs").status_code == 503
        assert not state_folder.file.exists()
        (state_folder.folder / "moved").rename(state_folder.file)
        assert is_ready(client) == (200, "")
        assert client.get("/runs").status_code == 200


def test_a_missing_table_is_told_and_not_made_again(state_folder, unhurried):
    with state_folder.client() as client:
        state_folder.execute("ALTER TABLE runs RENAME TO runs_")
        assert is_ready(client)[0] == 503
        assert (answer := client.get("/runs")).status_code == 503, answer.text
        assert answer.json()["type"] == "schema-mismatch"
        state_folder.execute("ALTER TABLE runs_ RENAME TO runs")
        assert is_ready(client) == (200, "")


def test_a_background_task_that_does_not_run_is_told(state_folder):
    with state_folder.client() as client:
        background = client.app.state.services.background
        background._tasks.append(BackgroundTask("lost", lambda: None, interval_seconds=60))
        assert is_ready(client) == (503, "The background task lost does not run.")


def test_every_metric_of_rules_and_dashboard_is_exported(state_folder):
    rules = YAML(typ="safe").load(RULES)
    board = json.loads(DASHBOARD.read_text())
    used = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    used += [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    names = {name for expression in used for name in re.findall(r"camreel_\w+", expression)}
    with state_folder.client() as client:
        client.get("/runs/1/epochs/1/cam")
        exported = {re.split(r"[{ ]", name)[0] for name in metrics(client)}
    assert len(names) > 6
    assert names <= exported


def test_every_alert_is_in_the_runbook():
    text = (OPERATIONS.parent / "operations.md").read_text()
    rules = YAML(typ="safe").load(RULES)
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert f"### {rule['alert']}" in text
