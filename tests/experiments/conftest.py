"""An empty store, and experiments whose runs stay queued."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.core.experiments.plan import ExperimentPlan
from service.flows.experiments import Experiments
from service.flows.workspace import Workspace
from service.store import schema
from service.store.store import Store, open_store
from tests.idle_executor import IdleExecutor

RATE, DROPOUT = "optimizer.learning_rate", "architecture.dropout"
GRID: dict[str, Any] = {
    "name": "grid",
    "base": {"dataset": "digits", "epochs": 2, "tags": ["digits"]},
    "fields": {RATE: {"values": [0.1, 1.0]}, DROPOUT: {"values": [0.0, 0.5]}},
    "seeds": [0, 1],
}
TINY: dict[str, Any] = {
    "name": "tiny",
    "base": {
        "dataset": "digits",
        "epochs": 1,
        "samples_per_epoch": 60,
        "architecture": {"channels": [2, 3], "hidden_units": 8},
    },
    "fields": {RATE: {"values": [0.1, 1.0]}, "architecture.kernel_size": {"values": [1, 3]}},
    "seeds": [0, 1],
}
"""Eight runs of fractions of a second."""


def grid_plan(**changes: Any) -> ExperimentPlan:
    return ExperimentPlan.model_validate(GRID | changes)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path / 'camreel.db'}") as opened_store:
        schema.ensure(opened_store)
        yield opened_store


@pytest.fixture
def executor() -> IdleExecutor:
    return IdleExecutor()


@pytest.fixture
def experiments(store: Store, executor: IdleExecutor, tmp_path: Path) -> Experiments:
    workspace = Workspace(str(store.engine.url), "sql", tmp_path)
    return Experiments(store, executor, workspace)
