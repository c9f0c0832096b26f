"""A run that is trained elsewhere: created, recorded epoch by epoch, ended."""

import io

import numpy as np
import torch
from PIL import Image

from service.core.images import from_png
from service.core.recorded_spec import training_spec
from service.flows.dispatch import LeaseMonitor
from service.flows.networks import Networks
from service.flows.recorded_runs import RecorderMonitor
from service.store import epochs, events, images, runs, tensors
from service.store.store import Store
from tests.recorded.conftest import (
    CLASS_NAMES,
    INPUT_SHAPE,
    Recorder,
    new_network,
    png,
    sha256,
    tensor_file,
)


def statuses(recorder: Recorder, store: Store) -> list[str]:
    with store.read_session() as session:
        return [
            event.data.get("status", event.type)
            for event in events.list_after(session, recorder.run_id, 0)
        ]


def test_recorded_run_is_running_until_its_recorder_ends_it(
    recorder: Recorder, store: Store
) -> None:
    created = recorder.start(name="mine", tags=["a"], config={"lr": 0.1}, epochs=2)
    assert created.status_code == 201, created.text
    run = created.json()
    assert (run["source"], run["status"], run["spec"]) == ("recorded", "running", None)
    assert run["recording"]["config"] == {"lr": 0.1}
    assert run["recording"]["class_names"] == CLASS_NAMES
    for epoch in range(3):
        response = recorder.record(
            epoch,
            new_network(epoch),
            metrics={"test_accuracy": 0.5 + epoch / 10, "val/f1": 0.25, "train_loss": None},
            config_changes={"lr": 0.1 / (epoch + 1)},
        )
        assert response.status_code == 201, response.text
    assert response.json()["test_accuracy"] == 0.7
    assert response.json()["test_loss"] is None
    assert response.json()["metrics"] == {"test_accuracy": 0.7, "val/f1": 0.25, "train_loss": None}
    assert recorder.call("POST", "finish").json()["status"] == "succeeded"
    run = recorder.run()
    assert (run["status"], run["epochs_done"], run["epochs_total"]) == ("succeeded", 2, 2)
    assert run["summary"]["test_accuracy"] == [0.5, 0.6, 0.7]
    assert statuses(recorder, store) == ["running", "epoch", "epoch", "epoch", "succeeded"]
    assert recorder.http.get("/runs").json()["items"][0]["source"] == "recorded"


def test_epoch_of_a_recorded_run_computes_what_the_module_computes(
    recorder: Recorder, store: Store
) -> None:
    recorder.start()
    module = new_network(3)
    recorder.record(0, module)
    with store.read_session() as session:
        epoch = epochs.get(session, recorder.run_id, 0)
    network = Networks(store).load(epoch)
    images = torch.rand(5, *INPUT_SHAPE)
    torch.testing.assert_close(network(images), module(images))


def test_checkpoint_of_a_recorded_epoch_names_its_network_and_tensors(recorder: Recorder) -> None:
    recorder.start()
    epoch = recorder.record(0, new_network()).json()
    response = recorder.http.get(f"/runs/{recorder.run_id}/epochs/0/checkpoint")
    assert sha256(response.content) == epoch["checkpoint"]["sha256"]
    files = recorder.files(new_network())
    assert response.json()["network"] == recorder.export.program.identity
    assert response.json()["tensors"] == {name: sha256(file) for name, file in files.items()}


def test_same_epoch_is_stored_once_and_another_content_is_refused(recorder: Recorder) -> None:
    recorder.start()
    first = recorder.record(0, new_network(0), metrics={"loss": 1.5})
    again = recorder.record(0, new_network(0), metrics={"loss": 1.5})
    assert (again.status_code, again.json()) == (200, first.json())
    for module, metrics in ((new_network(0), {"loss": 1.6}), (new_network(1), {"loss": 1.5})):
        for file in recorder.files(module).values():
            recorder.put_tensor(file)
        refusal = recorder.put_epoch(0, recorder.files(module), metrics=metrics)
        assert (refusal.status_code, refusal.json()["type"]) == (409, "run-conflict")
    assert recorder.http.get(f"/runs/{recorder.run_id}/epochs/0").json() == first.json()


def test_epochs_follow_each_other(recorder: Recorder) -> None:
    recorder.start()
    refusal = recorder.record(1, new_network())
    assert refusal.status_code == 409
    assert "next epoch" in refusal.json()["detail"]


def test_epoch_without_its_tensors_lists_those_that_are_missing(recorder: Recorder) -> None:
    recorder.start()
    files = recorder.files(new_network())
    refusal = recorder.put_epoch(0, files)
    assert refusal.status_code == 422
    assert sorted(refusal.json()["missing"]) == sorted({sha256(file) for file in files.values()})
    recorder.put_tensor(files["head.weight"])
    refusal = recorder.put_epoch(0, files)
    assert sha256(files["head.weight"]) not in refusal.json()["missing"]
    assert recorder.run()["epochs_done"] == -1


def test_epoch_with_tensors_that_do_not_fit_the_network_is_refused(recorder: Recorder) -> None:
    recorder.start()
    recorder.record(0, new_network())
    files = recorder.files(new_network())
    for tensor in (torch.zeros(4, 3), torch.zeros(3, 4, dtype=torch.float64)):
        recorder.put_tensor(tensor_file(tensor))
        refusal = recorder.put_epoch(1, files | {"head.weight": tensor_file(tensor)})
        assert refusal.status_code == 422
        (error,) = refusal.json()["errors"]
        assert error["field"] == "tensors.head.weight"
        assert "float32 of shape [3, 4]" in error["message"]
        assert refusal.json()["missing"] == []
    refusal = recorder.put_epoch(1, {n: f for n, f in files.items() if n != "head.bias"})
    assert refusal.json()["errors"][0]["field"] == "tensors.head.bias"
    refusal = recorder.put_epoch(1, files | {"other": files["head.bias"]})
    assert refusal.json()["errors"][0]["message"] == "is not used by the network"


def test_writes_under_a_stale_lease_are_refused(recorder: Recorder) -> None:
    recorder.start()
    stale_lease = recorder.lease
    files = recorder.files(new_network())
    recorder.record(0, new_network())
    response_of_taker = recorder.http.post(f"/runs/{recorder.run_id}/lease")
    assert response_of_taker.status_code == 201
    for lease in (stale_lease, "1.0", "x", response_of_taker.json()["lease"][:-1] + "z"):
        recorder.lease = lease
        for response in (
            recorder.put_epoch(1, files),
            recorder.call("POST", "heartbeat"),
            recorder.call("POST", "finish"),
            recorder.call("POST", "fail", json={"detail": "out of memory"}),
            recorder.call("PUT", "probes/0", content=png(0)),
        ):
            assert (response.status_code, response.json()["type"]) == (409, "lease-stale")
    recorder.lease = response_of_taker.json()["lease"]
    assert recorder.put_epoch(1, files).status_code == 201


def test_lease_is_required(recorder: Recorder) -> None:
    recorder.start()
    response = recorder.http.post(f"/runs/{recorder.run_id}/heartbeat")
    assert response.status_code == 422
    assert "lease" not in recorder.run()


def test_same_idempotency_key_creates_one_run_with_one_lease(recorder: Recorder) -> None:
    recorder.start()
    body = {
        "source": "recorded",
        "network": recorder.export.program.identity,
        "class_names": CLASS_NAMES,
    }
    first, second = (
        recorder.http.post("/runs", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)
    )
    assert second.headers["Idempotent-Replayed"] == "true"
    assert (first.json()["id"], first.json()["lease"]) == (
        second.json()["id"],
        second.json()["lease"],
    )


def test_run_without_heartbeats_is_lost_until_the_next_one(
    recorder: Recorder, store: Store
) -> None:
    recorder.start()
    monitor = RecorderMonitor(store, timeout_seconds=90)
    assert monitor.scan(0) == []
    recorder.call("POST", "heartbeat")
    assert monitor.scan(60) == []
    assert monitor.scan(149) == []
    assert monitor.scan(151) == [recorder.run_id]
    assert recorder.run()["status"] == "lost"
    assert monitor.scan(999) == []
    assert recorder.record(0, new_network()).status_code == 201
    assert recorder.run()["status"] == "running"
    assert statuses(recorder, store) == ["running", "lost", "running", "epoch"]


def test_failed_run_has_the_error_of_its_recorder(recorder: Recorder) -> None:
    recorder.start()
    for _ in range(2):
        failed = recorder.call("POST", "fail", json={"detail": "CUDA out of memory"})
        assert failed.json()["status"] == "failed"
    assert failed.json()["error"] == {"type": "recorder_failed", "detail": "CUDA out of memory"}
    for response in (recorder.record(0, new_network()), recorder.call("POST", "finish")):
        assert (response.status_code, response.json()["type"]) == (409, "run-ended")


def test_recorded_run_is_neither_dispatched_nor_resumed_nor_retried(
    recorder: Recorder, store: Store, new_client
) -> None:
    recorder.start()
    recorder.record(0, new_network())
    # A service that starts later dispatches what is queued, and takes over lost workers' runs.
    with store.read_session() as session:
        assert runs.list_queue(session) == []
    second_client = new_client(lease_seconds=1)
    assert second_client.app.state.services.executor.has_task(f"run-{recorder.run_id}") is False
    services = second_client.app.state.services
    monitor = LeaseMonitor(store, services.executor, services.workspace)
    assert monitor.scan(0) == monitor.scan(1e6) == []
    assert recorder.run()["status"] == "running"
    recorder.call("POST", "finish")
    assert recorder.http.post(f"/runs/{recorder.run_id}/resume").status_code == 409


def test_metrics_come_within_an_epoch_and_after_it(recorder: Recorder) -> None:
    recorder.start()
    steps = {"loss": [[0, 2.5], [10, None]], "grad/norm": [[0, 1.0]]}
    recorder.record(0, new_network(), metrics={"train_loss": 2.0}, steps=steps)
    recorder.record(1, new_network(1))
    late = {"test_accuracy": 0.5, "f1": None}
    for _ in range(2):
        response = recorder.call("POST", "epochs/0/metrics", json={"metrics": late})
        assert response.status_code == 200, response.text
    assert response.json()["metrics"] == {"train_loss": 2.0, **late}
    assert response.json()["late_metrics"] == ["f1", "test_accuracy"]
    assert response.json()["test_accuracy"] == 0.5
    refusal = recorder.call("POST", "epochs/0/metrics", json={"metrics": {"train_loss": 3.0}})
    assert (refusal.status_code, refusal.json()["type"]) == (409, "run-conflict")
    assert recorder.call("POST", "epochs/2/metrics", json={"metrics": late}).status_code == 404
    assert recorder.call("POST", "epochs/0/metrics", json={"metrics": {}}).status_code == 422
    # The epoch as it was sent first is still the same epoch.
    again = recorder.record(0, new_network(), metrics={"train_loss": 2.0}, steps=steps)
    assert again.status_code == 200
    assert recorder.http.get(f"/runs/{recorder.run_id}/steps").json() == {
        "items": [{"epoch": 0, "metrics": steps}],
        "next": None,
    }
    assert recorder.http.get("/runs/999/steps").status_code == 404


def test_recorder_reopens_a_run_that_has_ended(recorder: Recorder, store: Store) -> None:
    recorder.start()
    recorder.call("POST", "fail", json={"detail": "out of memory"})
    path = f"/runs/{recorder.run_id}/lease"
    assert recorder.http.post(path).json()["type"] == "run-ended"
    recorder.lease = recorder.http.post(f"{path}?reopen=true").json()["lease"]
    run = recorder.run()
    assert (run["status"], run["error"], run["finished_at"]) == ("running", None, None)
    assert recorder.record(0, new_network()).status_code == 201
    recorder.call("POST", "finish")
    assert statuses(recorder, store) == [
        "running",
        "failed",
        "running",
        "epoch",
        "succeeded",
    ]


def test_rounded_weights_are_accepted_for_float32_alone(recorder: Recorder) -> None:
    recorder.start(weights="bfloat16")
    files = recorder.files(new_network())
    for file in files.values():
        recorder.put_tensor(file)
    for dtype, status in ((torch.bfloat16, 201), (torch.float64, 422)):
        file = tensor_file(torch.zeros(3, 4, dtype=dtype))
        recorder.put_tensor(file)
        response = recorder.put_epoch(0 if status == 201 else 1, files | {"head.weight": file})
        assert response.status_code == status, response.text


def test_cancelled_run_refuses_its_recorder(recorder: Recorder) -> None:
    recorder.start()
    assert recorder.http.delete(f"/runs/{recorder.run_id}").status_code == 409
    assert recorder.http.post(f"/runs/{recorder.run_id}/cancel").json()["status"] == "cancelled"
    assert recorder.call("POST", "heartbeat").status_code == 409
    assert recorder.http.post(f"/runs/{recorder.run_id}/lease").status_code == 409


def test_trained_run_has_no_recorder(recorder: Recorder) -> None:
    recorder.start()
    spec = {"source": "trained", "dataset": "digits", "epochs": 1, "samples_per_epoch": 10}
    trained = recorder.http.post("/runs", json=spec | {"architecture": {"channels": [1, 1]}})
    assert trained.status_code == 201
    assert (trained.json()["source"], trained.json()["lease"]) == ("trained", None)
    recorder.run_id = trained.json()["id"]
    assert recorder.call("POST", "heartbeat").status_code == 409
    assert recorder.http.post(f"/runs/{recorder.run_id}/lease").status_code == 409
    assert training_spec({"dataset": "digits"}).dataset == "digits"


def test_errors_of_a_new_run_name_its_fields(recorder: Recorder) -> None:
    for fields, field in (
        ({"class_names": ["cat"]}, "class_names"),
        ({"class_names": ["a", "b"]}, "class_names"),
        ({"network": "0" * 64}, "network"),
        ({"network": "x"}, "network"),
        ({"epochs": -1}, "epochs"),
        ({"dataset": "mnist"}, "dataset"),
        ({"source": "elsewhere"}, "source"),
        ({"config": {"x": "y" * 70_000}}, "config"),
    ):
        refusal = recorder.start(**fields)
        assert refusal.status_code == 422
        assert refusal.json()["errors"][0]["field"] == field


def test_probes_are_stored_with_their_labels_before_the_first_epoch(
    recorder: Recorder, store: Store
) -> None:
    recorder.start()
    for position, label in ((0, 2), (1, None)):
        query = "" if label is None else f"?label={label}"
        for _ in range(2):
            response = recorder.call("PUT", f"probes/{position}{query}", content=png(position))
            assert response.status_code == 204, response.text
    assert recorder.call("PUT", "probes/0?label=2", content=png(1)).status_code == 409
    assert recorder.call("PUT", "probes/2?label=3", content=png(1)).status_code == 422
    assert recorder.call("PUT", "probes/2", content=b"GIF89a").status_code == 422
    recorder.record(0, new_network())
    assert recorder.call("PUT", "probes/2", content=png(2)).status_code == 409
    with store.read_session() as session:
        probes = images.list_probes(session, recorder.run_id)
    assert [(probe.reference, probe.label) for probe in probes] == [
        ("probe:0", 2),
        ("probe:1", None),
    ]
    expected = np.asarray(Image.open(io.BytesIO(png(1)))).transpose(2, 0, 1)
    assert (from_png(probes[1].png).numpy() == expected).all()


def test_unchanged_tensors_are_stored_once(recorder: Recorder, store: Store) -> None:
    recorder.start()
    module = new_network()
    for epoch in range(3):
        with torch.no_grad():
            module.head.weight += 1
        recorder.record(epoch, module)
    last_head = {sha256(recorder.files(module)["head.weight"])}
    with store.read_session() as session:
        by_epoch = [tensors.list_references(session, recorder.run_id, e) for e in range(3)]
        hashes = tensors.list_hashes(session)
    assert len(hashes) == len(by_epoch[0]) + 2
    assert by_epoch[2] - by_epoch[0] == last_head
