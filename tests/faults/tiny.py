"""Specs of short, endless and diverging runs, and the checkpoints of an uninterrupted one."""

import json
from pathlib import Path
from typing import Any

import torch

from service.core import checkpoints
from service.core.checkpoints import CheckpointHeader
from service.core.spec import RunSpec
from service.core.training import train
from tests.conftest import Service

TINY: dict[str, Any] = {
    "dataset": "digits",
    "architecture": {"channels": [2, 3], "hidden_units": 8},
    "samples_per_epoch": 60,
    "epochs": 3,
    "seed": 11,
}
LONG: dict[str, Any] = TINY | {"epochs": 50, "samples_per_epoch": 1500, "batch_size": 1}
"""One epoch takes far longer than a test."""
DIVERGING: dict[str, Any] = {
    "dataset": "digits",
    "samples_per_epoch": 500,
    "batch_size": 50,
    "epochs": 1,
    "optimizer": {"name": "sgd", "learning_rate": 100.0, "momentum": 0.99},
    "architecture": {"hidden_activation": "relu", "dropout": 0.0},
}
"""The loss becomes infinite or NaN after a few steps."""


def train_undisturbed(**changes: Any) -> list[str]:
    """SHA-256 of each epoch's checkpoint, trained in this process on one thread."""
    spec = RunSpec.model_validate(TINY | changes)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [
            checkpoints.digest(
                checkpoints.encode(result.network, CheckpointHeader.for_epoch(spec, result.epoch))
            )
            for result in train(spec, spec.source.load(Path(), False))
        ]
    finally:
        torch.set_num_threads(threads)


def weights(service: Service, run_id: int) -> list[str]:
    response = service.http.get(f"/runs/{run_id}/epochs", params={"limit": 200}).raise_for_status()
    items = response.json()["items"]
    assert [item["epoch"] for item in items] == list(range(len(items)))
    return [item["checkpoint"]["sha256"] for item in items]


def statuses(service: Service, run_id: int) -> list[str]:
    """Statuses in the events of the run, in order."""
    lines = service.http.get(f"/runs/{run_id}/events").text.splitlines()
    data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    return [event["status"] for event in data if "status" in event]
