"""Starting, observing and ending runs over HTTP, with real worker processes."""

import hashlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from safetensors.torch import load

from service.core.checkpoints import decode, read_header
from service.core.datasets import DATASETS
from service.core.training import evaluate_network
from tests.conftest import Service, mnist_dir
from tests.http.test_http_refusals import expect_problem
from tests.processes import worker_pids

DEFAULT_SPEC = {
    "tags": [],
    "dataset": "mnist",
    "dataset_info": None,
    "plant": None,
    "input": {
        "channels": "gray",
        "resize": {"mode": "exact", "size": 28, "interpolation": "bilinear", "antialias": True},
        "crop": None,
        "mean": [0.0],
        "std": [1.0],
        "baseline": "black",
    },
    "architecture": {
        "name": "table1",
        "kernel_size": 3,
        "channels": [32, 64],
        "hidden_units": 128,
        "dropout": 0.5,
        "hidden_activation": "sigmoid",
        "output_activation": "identity",
    },
    "optimizer": {"name": "adadelta", "learning_rate": 1.0, "rho": 0.9},
    "epochs": 100,
    "schedule": {"name": "constant", "warmup_epochs": 0},
    "samples_per_epoch": 10000,
    "batch_size": 100,
    "label_smoothing": 0.0,
    "augmentation": {"flip_probability": 0.0, "shift_fraction": 0.0, "crop_padding": 0},
    "seed": 0,
    "precision": "float32",
    "device": "auto",
    "keep_states": "last",
    "probes": {"per_class": 1, "images": []},
}


def test_empty_body_is_the_experiment_of_the_paper(service: Service) -> None:
    response = service.http.post("/runs", json={})
    run = response.json()
    service.http.post(f"/runs/{run['id']}/cancel")
    assert response.status_code == 201
    assert response.headers["location"] == f"/runs/{run['id']}"
    assert run["spec"] == DEFAULT_SPEC | {"name": ""}
    assert (run["status"], run["epochs_total"], run["error"]) == ("queued", 100, None)
    service.wait(run["id"])


def test_finished_run_lists_all_epochs(service: Service, finished_run: dict[str, Any]) -> None:
    assert finished_run["status"] == "succeeded"
    assert (finished_run["epochs_done"], finished_run["epochs_total"]) == (3, 3)
    assert finished_run["created_at"] <= finished_run["started_at"] <= finished_run["finished_at"]
    assert finished_run["created_at"].endswith("Z")
    epochs = service.http.get(f"/runs/{finished_run['id']}/epochs").json()["items"]
    assert [epoch["epoch"] for epoch in epochs] == [0, 1, 2, 3]
    assert epochs[0]["train_loss"] is None
    assert all(epoch["train_loss"] > 0 for epoch in epochs[1:])
    # It learns: accuracy rises from about a tenth to most of the digits.
    assert epochs[0]["test_accuracy"] < 0.3
    assert epochs[3]["test_accuracy"] > 0.6
    assert len(epochs[3]["per_class_accuracy"]) == 10


def test_checkpoint_has_the_evaluated_network(
    service: Service, finished_run: dict[str, Any]
) -> None:
    epoch = service.http.get(f"/runs/{finished_run['id']}/epochs/2").json()
    response = service.http.get(f"/runs/{finished_run['id']}/epochs/2/checkpoint")
    assert hashlib.sha256(response.content).hexdigest() == epoch["checkpoint"]["sha256"]
    assert len(response.content) == epoch["checkpoint"]["bytes"]
    header = read_header(response.content)
    assert header.epoch == 2
    assert header.architecture.model_dump() == finished_run["spec"]["architecture"]
    assert load(response.content)["conv2.weight"].shape == (64, 32, 3, 3)
    network, _ = decode(response.content)
    data = DATASETS[finished_run["spec"]["dataset"]].load(mnist_dir() or Path(), False)
    score = evaluate_network(network, data.test, 10)
    assert score.accuracy == pytest.approx(epoch["test_accuracy"], abs=1e-3)


def test_runs_are_listed_newest_first_with_pages_and_filters(service: Service) -> None:
    ids = [
        service.post_run(dataset="digits", epochs=1, samples_per_epoch=10, tags=["listed", str(i)])
        for i in range(3)
    ]
    first_page = service.http.get("/runs", params={"tag": "listed", "limit": 2}).json()
    assert [run["id"] for run in first_page["items"]] == ids[:0:-1]
    second_page = service.http.get(
        "/runs", params={"tag": "listed", "limit": 2, "cursor": first_page["next"]}
    ).json()
    assert [run["id"] for run in second_page["items"]] == ids[:1]
    assert second_page["next"] is None
    assert second_page["items"][0]["tags"] == ["listed", "0"]
    for run_id in ids:
        service.wait(run_id)
    succeeded = service.http.get("/runs", params={"tag": "listed", "status": "succeeded"}).json()
    assert len(succeeded["items"]) == 3
    assert (
        service.http.get("/runs", params={"tag": "listed", "status": "failed"}).json()["items"]
        == []
    )


def test_the_same_spec_gives_the_same_bits(service: Service) -> None:
    digests = []
    for _ in range(2):
        run = service.post_run(dataset="digits", epochs=1, samples_per_epoch=300, seed=7)
        assert service.wait(run)["status"] == "succeeded"
        epoch = service.http.get(f"/runs/{run}/epochs/1").json()
        digests.append(epoch["checkpoint"]["sha256"])
    assert digests[0] == digests[1]


def test_cancel_ends_a_run_during_an_epoch_and_keeps_its_epochs(service: Service) -> None:
    # One epoch of 1,500 images in batches of one takes far longer than the test.
    run_id = service.post_run(dataset="digits", epochs=50, batch_size=1)
    service.wait(
        run_id, condition=lambda run: run["epochs_done"] == 0 and run["status"] == "running"
    )
    service.wait(run_id, condition=lambda run: run["progress"]["images_seen"] > 0)
    assert service.http.post(f"/runs/{run_id}/cancel").status_code == 202
    start_time = time.monotonic()
    run = service.wait(run_id)
    assert run["status"] == "cancelled"
    assert run["epochs_done"] == 0
    assert time.monotonic() - start_time < 20
    assert service.http.get(f"/runs/{run_id}/epochs/0/cam").status_code == 200
    second_response = service.http.post(f"/runs/{run_id}/cancel")
    assert second_response.status_code == 409
    assert second_response.json()["type"] == "run-conflict"


def test_only_a_finished_run_can_be_deleted(
    service: Service,
) -> None:
    run_id = service.post_run(dataset="digits", epochs=50, batch_size=1)
    service.wait(run_id, condition=lambda run: run["status"] == "running")
    assert service.http.delete(f"/runs/{run_id}").status_code == 409
    service.http.post(f"/runs/{run_id}/cancel")
    service.wait(run_id)
    assert service.http.delete(f"/runs/{run_id}").status_code == 204
    for path in ("", "/epochs", "/epochs/0", "/epochs/0/cam", "/epochs/0/checkpoint"):
        assert service.http.get(f"/runs/{run_id}{path}").status_code == 404
    assert service.http.delete(f"/runs/{run_id}").status_code == 404


def test_diverging_run_fails_with_diverged(service: Service) -> None:
    run_id = service.post_run(
        dataset="digits",
        epochs=5,
        optimizer={"name": "sgd", "learning_rate": 100.0, "momentum": 0.99},
        architecture={"hidden_activation": "relu", "dropout": 0.0},
    )
    run = service.wait(run_id)
    assert run["status"] == "failed"
    assert run["error"]["type"] == "diverged"
    assert "learning rate" in run["error"]["detail"]
    assert service.http.get(f"/runs/{run_id}/epochs/0/cam").status_code == 200
    divergence = service.http.get(f"/runs/{run_id}/divergence").json()
    assert divergence["suggestion"] == {"learning_rate": 0.1, "reason": "default"}
    steps = divergence["steps"]
    assert (steps["epoch"], steps["first_step"], steps["losses"][-1]) == (1, 1, None)
    assert len(steps["losses"]) == len(steps["gradient_norms"]) > 1
    refusal = expect_problem(service.http.post(f"/runs/{run_id}/resume", json={"epochs": 9}), 409)
    assert "would do so again" in refusal["detail"]
    assert service.run(run_id) == run


def test_run_that_has_not_diverged_has_no_divergence(
    service: Service, finished_run: dict[str, Any]
) -> None:
    expect_problem(service.http.get(f"/runs/{finished_run['id']}/divergence"), 404)
    expect_problem(service.http.get("/runs/999999/divergence"), 404)


@pytest.mark.torture
def test_run_that_lost_three_workers_fails_and_can_be_resumed(
    new_service: Callable[..., Service],
) -> None:
    service = new_service()
    run_id = service.post_run(dataset="digits", epochs=50, batch_size=1)
    service.wait(run_id, condition=lambda run: run["epochs_done"] >= 0)
    killed_pids: set[int] = set()
    while len(killed_pids) < 3 or service.run(run_id)["status"] != "failed":
        service.wait(run_id, condition=lambda run: run["status"] in ("running", "failed"))
        for child in set(worker_pids(service.process.pid)) - killed_pids:
            if service.run(run_id)["status"] == "running":
                os.kill(child, signal.SIGKILL)
                killed_pids.add(child)
    run = service.wait(run_id)
    assert len(killed_pids) == 3
    assert run["error"]["type"] == "worker_killed"
    assert "SIGKILL" in run["error"]["detail"]
    assert service.http.get(f"/runs/{run_id}/epochs/0/cam").status_code == 200
    # Invalid numbers of epochs are refused; then the run is resumed.
    path = f"/runs/{run_id}/resume"
    for epochs in (0, run["epochs_done"], 10_001):
        assert service.http.post(path, json={"epochs": epochs}).status_code == 422
    resumed = service.http.post(path)
    assert resumed.status_code == 202
    assert (resumed.json()["status"], resumed.json()["error"]) == ("queued", None)
    assert service.http.post(path).status_code == 409
    service.http.post(f"/runs/{run_id}/cancel")
    assert service.wait(run_id)["status"] == "cancelled"
    # The slot is free again.
    other_run_id = service.post_run(dataset="digits", epochs=1, samples_per_epoch=100)
    assert service.wait(other_run_id)["status"] == "succeeded"


def test_missing_dataset_fails_the_run_with_the_remedy(
    new_service: Callable[..., Service], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    # A proxy that refuses connections simulates a machine without a network.
    service = new_service(
        CAMREEL_DATA_DIR=str(tmp_path / "empty"),
        http_proxy="http://127.0.0.1:9",
        https_proxy="http://127.0.0.1:9",
    )
    run = service.wait(service.post_run(epochs=1))
    assert run["status"] == "failed"
    assert run["error"]["type"] == "dataset_unavailable"
    assert "CAMREEL_DATA_DIR" in run["error"]["detail"]
    assert str(tmp_path) not in run["error"]["detail"]


def test_running_and_queued_runs_continue_after_a_restart(
    new_service: Callable[..., Service],
) -> None:
    first = new_service()
    training = first.post_run(dataset="digits", epochs=50, batch_size=1)
    queued = first.post_run(dataset="digits", epochs=1, samples_per_epoch=100)
    first.wait(training, condition=lambda run: run["epochs_done"] >= 0)
    assert first.run(queued)["status"] == "queued"
    children = worker_pids(first.process.pid)
    # uvicorn shuts down and then raises the signal that it received.
    assert first.stop() in (0, -signal.SIGTERM)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    second = new_service()
    run = second.run(training)
    assert run["status"] in ("queued", "running")
    assert (run["error"], run["epochs_done"] >= 0) == (None, True)
    second.wait(training, condition=lambda run: run["status"] == "running")
    second.http.post(f"/runs/{training}/cancel")
    assert second.wait(training)["status"] == "cancelled"
    assert second.wait(queued)["status"] == "succeeded"


def test_workers_end_with_a_killed_service(new_service: Callable[..., Service]) -> None:
    service = new_service()
    run_id = service.post_run(dataset="digits", epochs=50, batch_size=1)
    service.wait(run_id, condition=lambda run: run["epochs_done"] >= 0)
    children = worker_pids(service.process.pid)
    assert children
    service.stop(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.torture
def test_two_runs_train_at_once_if_configured(
    new_service: Callable[..., Service],
) -> None:
    service = new_service(CAMREEL_MAX_PARALLEL_RUNS="2")
    ids = [service.post_run(dataset="digits", epochs=50, batch_size=1) for _ in range(3)]
    for run_id in ids[:2]:
        service.wait(run_id, condition=lambda run: run["status"] == "running")
    assert service.run(ids[2])["status"] == "queued"
    # A queued run is cancelled at once.
    assert service.http.post(f"/runs/{ids[2]}/cancel").json()["status"] == "cancelled"


@pytest.mark.torture
def test_bfloat16_run_learns(service: Service) -> None:
    run_id = service.post_run(dataset="digits", epochs=3, precision="bfloat16")
    assert service.wait(run_id)["status"] == "succeeded"
    epoch = service.http.get(f"/runs/{run_id}/epochs/3").json()
    assert epoch["test_accuracy"] > 0.5
    checkpoint = service.http.get(f"/runs/{run_id}/epochs/3/checkpoint").content
    assert {tensor.dtype for tensor in load(checkpoint).values()} == {torch.float32}


def test_unknown_path_and_unsupported_method_are_problems(http: httpx.Client) -> None:
    for response, status in ((http.get("/nowhere"), 404), (http.put("/runs"), 405)):
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status"} <= response.json().keys()
