"""Metrics and readiness: what they count, and when the service says that it cannot work."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from ruamel.yaml import YAML

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations"
RULES = OPERATIONS / "alerts.yml"
DASHBOARD = OPERATIONS / "dashboard.json"


def metrics(client) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }


def test_metrics_count_what_there_is(place):
    with place.client() as client:
        place.put(2, None)
        for _ in range(2):
            client.get("/runs/1/epochs/1/cam")
        client.get("/runs/1/epochs/2/cam")
        found = metrics(client)
    assert found['camreel_runs{status="succeeded"}'] == 1
    assert found["camreel_epochs"] == 4
    assert found["camreel_quarantined_checkpoints"] == 1
    assert found["camreel_queue_length"] == found["camreel_oldest_heartbeat_seconds"] == 0
    assert found['camreel_cache_looks_total{cache="pictures",result="hit"}'] == 1
    assert found['camreel_cache_looks_total{cache="pictures",result="miss"}'] == 2
    assert found["camreel_blob_bytes"] > 4000
    assert found["camreel_store_bytes"] > found["camreel_blob_bytes"]
    assert found["camreel_disk_free_bytes"] > 0
    assert any(name.startswith("camreel_build_info{") for name in found)


def test_a_service_that_can_work_is_ready(place):
    with place.client() as client:
        assert client.get("/readyz").json() == {"status": "ready"}


@pytest.mark.parametrize("why", ["locked", "schema", "disk", "executor"])
def test_a_service_that_cannot_work_says_why(place, why):
    with place.client(**({"min_free_bytes": 2**60} if why == "disk" else {})) as client:
        with closing(sqlite3.connect(place.file, isolation_level=None)) as other:
            if why == "locked":
                other.execute("BEGIN IMMEDIATE")
            if why == "schema":
                place.execute("UPDATE alembic_version SET version_num = '9999'")
            if why == "executor":
                client.app.state.services.executor.takes_jobs = lambda: False
            answer = client.get("/readyz")
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["type"] == "not-ready"
        assert {"locked": "in time", "disk": "MIN_FREE"}.get(why, why) in answer.json()["detail"]
        assert str(place.folder) not in answer.text
        assert client.get("/healthz").status_code == 200


def test_every_metric_of_rules_and_dashboard_is_exported(place):
    rules = YAML(typ="safe").load(RULES)
    board = json.loads(DASHBOARD.read_text())
    used = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    used += [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    names = {name for expression in used for name in re.findall(r"camreel_\w+", expression)}
    with place.client() as client:
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
