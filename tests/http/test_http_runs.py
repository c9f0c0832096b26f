"""Starting, following and ending runs over HTTP, with real worker processes."""

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
from tests.processes import worker_pids

DEFAULT_SPEC = {
    "tags": [],
    "dataset": "mnist",
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
    "samples_per_epoch": 10000,
    "batch_size": 100,
    "seed": 0,
    "precision": "float32",
    "device": "auto",
    "probes": {"per_class": 1, "images": []},
}


def test_an_empty_body_is_the_papers_experiment(service: Service) -> None:
    answer = service.http.post("/runs", json={})
    run = answer.json()
    service.http.post(f"/runs/{run['id']}/cancel")
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/runs/{run['id']}"
    assert run["spec"] == DEFAULT_SPEC | {"name": ""}
    assert (run["status"], run["epochs_total"], run["error"]) == ("queued", 100, None)
    service.wait(run["id"])


def test_a_finished_run_tells_of_all_its_epochs(
    service: Service, finished_run: dict[str, Any]
) -> None:
    assert finished_run["status"] == "succeeded"
    assert (finished_run["epochs_done"], finished_run["epochs_total"]) == (3, 3)
    assert finished_run["created_at"] <= finished_run["started_at"] <= finished_run["finished_at"]
    assert finished_run["created_at"].endswith("Z")
    epochs = service.http.get(f"/runs/{finished_run['id']}/epochs").json()["items"]
    assert [epoch["epoch"] for epoch in epochs] == [0, 1, 2, 3]
    assert epochs[0]["train_loss"] is None
    assert all(epoch["train_loss"] > 0 for epoch in epochs[1:])
    # It learns: from a tenth of the digits to most of them.
    assert epochs[0]["test_accuracy"] < 0.3
    assert epochs[3]["test_accuracy"] > 0.6
    assert len(epochs[3]["per_class_accuracy"]) == 10


def test_a_checkpoint_is_the_network_that_was_measured(
    service: Service, finished_run: dict[str, Any]
) -> None:
    epoch = service.http.get(f"/runs/{finished_run['id']}/epochs/2").json()
    answer = service.http.get(f"/runs/{finished_run['id']}/epochs/2/checkpoint")
    assert hashlib.sha256(answer.content).hexdigest() == epoch["checkpoint"]["sha256"]
    assert len(answer.content) == epoch["checkpoint"]["bytes"]
    header = read_header(answer.content)
    assert header.epoch == 2
    assert header.architecture.model_dump() == finished_run["spec"]["architecture"]
    assert load(answer.content)["conv2.weight"].shape == (64, 32, 3, 3)
    network, _ = decode(answer.content)
    data = DATASETS[finished_run["spec"]["dataset"]].load(mnist_dir() or Path(), False)
    score = evaluate_network(network, data.test, 10)
    assert score.accuracy == pytest.approx(epoch["test_accuracy"], abs=1e-3)


def test_the_list_is_newest_first_in_pages_and_by_tag(service: Service) -> None:
    made = [
        service.post_run(dataset="digits", epochs=1, samples_per_epoch=10, tags=["listed", str(i)])
        for i in range(3)
    ]
    first_response = service.http.get("/runs", params={"tag": "listed", "limit": 2}).json()
    assert [run["id"] for run in first_response["items"]] == made[:0:-1]
    remaining_events = service.http.get(
        "/runs", params={"tag": "listed", "limit": 2, "cursor": first_response["next"]}
    ).json()
    assert [run["id"] for run in remaining_events["items"]] == made[:1]
    assert remaining_events["next"] is None
    assert remaining_events["items"][0]["tags"] == ["listed", "0"]
    for run_id in made:
        service.wait(run_id)
    done = service.http.get("/runs", params={"tag": "listed", "status": "succeeded"}).json()
    assert len(done["items"]) == 3
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


def test_cancel_ends_a_run_in_the_middle_of_an_epoch_and_keeps_its_epochs(service: Service) -> None:
    # One epoch of 1,500 images in batches of one takes far longer than the test.
    run_id = service.post_run(dataset="digits", epochs=50, batch_size=1)
    service.wait(run_id, until=lambda run: run["epochs_done"] == 0 and run["status"] == "running")
    service.wait(run_id, until=lambda run: run["progress"]["images_seen"] > 0)
    assert service.http.post(f"/runs/{run_id}/cancel").status_code == 202
    start_time = time.monotonic()
    run = service.wait(run_id)
    assert run["status"] == "cancelled"
    assert run["epochs_done"] == 0
    assert time.monotonic() - start_time < 20
    assert service.http.get(f"/runs/{run_id}/epochs/0/cam").status_code == 200
    again = service.http.post(f"/runs/{run_id}/cancel")
    assert again.status_code == 409
    assert again.json()["type"] == "run-conflict"


def test_a_running_run_is_not_deleted_and_a_finished_one_is_with_all_it_had(
    service: Service,
) -> None:
    run_id = service.post_run(dataset="digits", epochs=50, batch_size=1)
    service.wait(run_id, until=lambda run: run["status"] == "running")
    assert service.http.delete(f"/runs/{run_id}").status_code == 409
    service.http.post(f"/runs/{run_id}/cancel")
    service.wait(run_id)
    assert service.http.delete(f"/runs/{run_id}").status_code == 204
    for path in ("", "/epochs", "/epochs/0", "/epochs/0/cam", "/epochs/0/checkpoint"):
        assert service.http.get(f"/runs/{run_id}{path}").status_code == 404
    assert service.http.delete(f"/runs/{run_id}").status_code == 404


def test_a_diverging_run_fails_and_says_so(service: Service) -> None:
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


@pytest.mark.torture
def test_a_run_that_lost_three_workers_has_failed_and_keeps_its_epochs_until_it_is_resumed(
    new_service: Callable[..., Service],
) -> None:
    service = new_service()
    run_id = service.post_run(dataset="digits", epochs=50, batch_size=1)
    service.wait(run_id, until=lambda run: run["epochs_done"] >= 0)
    killed: set[int] = set()
    while len(killed) < 3 or service.run(run_id)["status"] != "failed":
        service.wait(run_id, until=lambda run: run["status"] in ("running", "failed"))
        for child in set(worker_pids(service.process.pid)) - killed:
            if service.run(run_id)["status"] == "running":
                os.kill(child, signal.SIGKILL)
                killed.add(child)
    run = service.wait(run_id)
    assert len(killed) == 3
    assert run["error"]["type"] == "worker_killed"
    assert "SIGKILL" in run["error"]["detail"]
    assert service.http.get(f"/runs/{run_id}/epochs/0/cam").status_code == 200
    # What is asked for in vain is told with its bounds; then it goes on.
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
    other = service.post_run(dataset="digits", epochs=1, samples_per_epoch=100)
    assert service.wait(other)["status"] == "succeeded"


def test_a_dataset_that_is_nowhere_fails_the_run_with_how_to_provide_it(
    new_service: Callable[..., Service], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    # A proxy that refuses stands for a machine without a network.
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


def test_what_trained_and_what_waited_goes_on_after_a_restart(
    new_service: Callable[..., Service],
) -> None:
    first = new_service()
    training = first.post_run(dataset="digits", epochs=50, batch_size=1)
    waiting = first.post_run(dataset="digits", epochs=1, samples_per_epoch=100)
    first.wait(training, until=lambda run: run["epochs_done"] >= 0)
    assert first.run(waiting)["status"] == "queued"
    children = worker_pids(first.process.pid)
    # uvicorn ends in order, then by the signal that asked it to.
    assert first.stop() in (0, -signal.SIGTERM)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    second = new_service()
    run = second.run(training)
    assert run["status"] in ("queued", "running")
    assert (run["error"], run["epochs_done"] >= 0) == (None, True)
    second.wait(training, until=lambda run: run["status"] == "running")
    second.http.post(f"/runs/{training}/cancel")
    assert second.wait(training)["status"] == "cancelled"
    assert second.wait(waiting)["status"] == "succeeded"


def test_workers_end_with_a_killed_service(new_service: Callable[..., Service]) -> None:
    service = new_service()
    run_id = service.post_run(dataset="digits", epochs=50, batch_size=1)
    service.wait(run_id, until=lambda run: run["epochs_done"] >= 0)
    children = worker_pids(service.process.pid)
    assert children
    service.stop(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.torture
def test_two_runs_train_at_once_where_the_setting_says_so(
    new_service: Callable[..., Service],
) -> None:
    service = new_service(CAMREEL_MAX_PARALLEL_RUNS="2")
    ids = [service.post_run(dataset="digits", epochs=50, batch_size=1) for _ in range(3)]
    for run_id in ids[:2]:
        service.wait(run_id, until=lambda run: run["status"] == "running")
    assert service.run(ids[2])["status"] == "queued"
    # One that waits is cancelled at once.
    assert service.http.post(f"/runs/{ids[2]}/cancel").json()["status"] == "cancelled"


@pytest.mark.torture
def test_bfloat16_learns_too(service: Service) -> None:
    run_id = service.post_run(dataset="digits", epochs=3, precision="bfloat16")
    assert service.wait(run_id)["status"] == "succeeded"
    epoch = service.http.get(f"/runs/{run_id}/epochs/3").json()
    assert epoch["test_accuracy"] > 0.5
    checkpoint = service.http.get(f"/runs/{run_id}/epochs/3/checkpoint").content
    assert {tensor.dtype for tensor in load(checkpoint).values()} == {torch.float32}


def test_an_unknown_path_and_a_wrong_verb_are_problems_too(http: httpx.Client) -> None:
    for answer, status in ((http.get("/nowhere"), 404), (http.put("/runs"), 405)):
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status"} <= answer.json().keys()
