"""The store equals its model after any sequence of actions by clients, workers and faults."""

import copy
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import event

from service.core import checkpoints
from service.core.checkpoints import CheckpointHeader
from service.core.training import EpochResult, train
from service.store.store import Store
from tests.faults.run_histories import SPEC, Histories

# Histories by database: a step on PostgreSQL takes three times as long.
EXAMPLES = {"sqlite": 16, "postgresql": 4}
STEPS = 30
EXAMPLES_FACTOR = 75 if os.environ.get("CAMREEL_TORTURE") else 1


@pytest.fixture(scope="module")
def results() -> list[EpochResult]:
    """Results of all epochs, trained once."""
    results = []
    for result in train(SPEC, SPEC.source.load(Path(), False)):
        network, optimizer = copy.deepcopy((result.network, result.optimizer))
        results.append(EpochResult(**vars(result) | {"network": network, "optimizer": optimizer}))
    return results


def test_any_history_keeps_the_invariants(store: Store, results: list[EpochResult]) -> None:
    if store.file:
        # Durability is not tested here.
        event.listen(store.engine, "connect", lambda c, _: c.execute("PRAGMA synchronous=OFF"))
        store.engine.dispose()
    digests = [
        checkpoints.digest(
            checkpoints.encode(result.network, CheckpointHeader.for_epoch(SPEC, result.epoch))
        )
        for result in results
    ]
    run_state_machine_as_test(
        lambda: Histories(store, results, digests),
        settings=settings(
            max_examples=EXAMPLES[store.engine.dialect.name] * EXAMPLES_FACTOR,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
