"""Ended runs can be resumed, bit-identically to uninterrupted training."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from service.core.spec import RunSpec
from service.errors import EpochQuarantined
from service.flows import runs as run_flows
from service.flows.checkpoints import load_verified_checkpoint
from service.flows.workspace import Workspace
from service.jobs.inline import InlineExecutor
from service.store import epochs, runs
from service.store.store import Store
from tests.cli.commands import camreel_process
from tests.conftest import Service
from tests.faults.tiny import TINY, train_undisturbed, weights

# Long enough to be cancelled before its end.
SLOWER = TINY | {"samples_per_epoch": 400, "batch_size": 4, "epochs": 20}


@pytest.mark.torture
def test_ended_runs_are_resumed_over_http_and_on_the_command_line(
    new_service: Callable[..., Service], tmp_path: Path
) -> None:
    service = new_service(
        CAMREEL_FAILPOINT="before-begin:full@2",
        CAMREEL_FAILPOINT_MARK=str(tmp_path / "failed"),
        OMP_NUM_THREADS="1",
    )
    expected_weights = train_undisturbed(epochs=5)

    failed = service.post_run(**TINY)
    assert service.wait(failed)["status"] == "failed"
    assert weights(service, failed) == expected_weights[:1]
    assert service.http.post(f"/runs/{failed}/resume").status_code == 202
    assert service.wait(failed)["status"] == "succeeded"
    assert weights(service, failed) == expected_weights[:4]

    # A succeeded run can only be resumed with more epochs.
    refusal = service.http.post(f"/runs/{failed}/resume")
    assert (refusal.status_code, refusal.json()["errors"][0]["field"]) == (422, "epochs")
    extended = service.http.post(f"/runs/{failed}/resume", json={"epochs": 4})
    assert (extended.status_code, extended.json()["epochs_total"]) == (202, 4)
    assert service.wait(failed)["epochs_done"] == 4
    assert weights(service, failed) == expected_weights[:5]

    cancelled = service.post_run(**SLOWER)
    service.wait(cancelled, condition=lambda run: run["epochs_done"] >= 0)
    service.http.post(f"/runs/{cancelled}/cancel")
    run = service.wait(cancelled)
    assert run["status"] == "cancelled"
    resumed = service.http.post(f"/runs/{cancelled}/resume")
    assert resumed.status_code == 202
    assert service.wait(cancelled)["status"] == "succeeded"
    assert weights(service, cancelled) == train_undisturbed(**SLOWER)

    assert service.stop() in (0, -signal.SIGTERM)
    environment = {"CAMREEL_STATE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    process = camreel_process(tmp_path, "resume", str(failed), **environment)
    assert process.returncode != 0
    assert "epochs" in process.stderr
    assert "Traceback" not in process.stderr
    process = camreel_process(tmp_path, "resume", str(failed), "--epochs", "5", **environment)
    assert process.returncode == 0, process.stderr
    assert f"Run {failed} succeeded with 5 epochs." in process.stdout
    with Store.open(f"sqlite:///{tmp_path / 'camreel.db'}").read_session() as session:
        epoch_rows = epochs.list_epochs(session, failed)
    assert [epoch.checkpoint.sha256 for epoch in epoch_rows] == expected_weights


def test_run_with_a_corrupt_last_checkpoint_fails_and_quarantines_it(
    store: Store, tmp_path: Path
) -> None:
    url = store.engine.url.render_as_string(hide_password=False)
    workspace = Workspace(url, "sql", tmp_path)
    spec = RunSpec.model_validate(TINY | {"epochs": 1})
    run_id = run_flows.start_run(store, InlineExecutor(), workspace, spec).id
    with store.write_session() as session:
        last_epoch = epochs.get(session, run_id, 1)
        data = bytearray(store.blobs.get(session, last_epoch.checkpoint.blob_key))
        data[-1] ^= 1
        store.blobs.put(session, last_epoch.checkpoint.blob_key, bytes(data))
    run_flows.resume_run(store, InlineExecutor(), workspace, run_id, 2)
    with store.read_session() as session:
        run = runs.get(session, run_id)
        last_epoch = epochs.get(session, run_id, 1)
    assert (run.status, run.error.type, run.epochs_done) == ("failed", "checkpoint_corrupt", 1)
    assert last_epoch.quarantine_reason == "corrupt"
    with pytest.raises(EpochQuarantined):
        load_verified_checkpoint(store, last_epoch)
