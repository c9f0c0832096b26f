"""The estimate of time, worked out from runs whose epochs are a known time apart."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from service.core.experiments.settings import plan_runs
from service.core.spec import RunSpec
from service.flows.experiment_estimate import estimate_time
from service.store import epochs, runs
from service.store.epochs import Checkpoint, EpochMetrics
from service.store.rows import EpochRow, RunRow
from service.store.store import Store
from tests.experiments.conftest import grid_plan

START = datetime(2026, 1, 1, tzinfo=UTC)


def add_run(store: Store, seconds: Sequence[float], attempt: int = 1, **spec: Any) -> int:
    """A run whose epochs were recorded at those times."""
    values = RunSpec.model_validate({"dataset": "digits", "samples_per_epoch": 100} | spec)
    with store.write_session() as session:
        run = runs.create(session, "", [], values.model_dump(mode="json"), 9)
        for epoch, _ in enumerate(seconds):
            metrics = EpochMetrics(None, None, 1.0, 0.5, [], 0.1, 1.0)
            epochs.add(session, run.id, epoch, metrics, Checkpoint("0" * 64, 1, f"{epoch}"))
        for epoch, second in enumerate(seconds):
            session.execute(
                update(EpochRow)
                .where(EpochRow.run_id == run.id, EpochRow.epoch == epoch)
                .values(created_at=START + timedelta(seconds=second))
            )
        session.execute(update(RunRow).where(RunRow.id == run.id).values(attempt=attempt))
    return run.id


def plan(**base: Any) -> Any:
    """Two learning rates, two seeds, three epochs: 12 epochs."""
    values = {"dataset": "digits", "epochs": 3, "samples_per_epoch": 100, **base}
    fields = {"optimizer.learning_rate": {"values": [0.1, 1.0]}}
    return plan_runs(grid_plan(base=values, fields=fields))


def test_estimate_is_the_median_pace_of_equal_runs(store: Store) -> None:
    ids = [
        add_run(store, [0, 2, 4]),  # 2 seconds per epoch
        add_run(store, [0, 3]),
        add_run(store, [0, 10, 20]),
    ]
    add_run(store, [0, 500], attempt=2)  # it was interrupted
    add_run(store, [0])  # it has trained no epoch
    add_run(store, [0, 900], batch_size=7)  # another batch size
    estimate = estimate_time(store, plan(), 2)
    assert estimate is not None
    assert (estimate.run_seconds, estimate.seconds) == (12 * 3, 18)
    assert (estimate.basis_run_ids, estimate.is_scaled) == (ids, False)


def test_without_equal_runs_similar_ones_are_scaled_by_their_images(store: Store) -> None:
    add_run(store, [0, 4])
    estimate = estimate_time(store, plan(samples_per_epoch=300), 1)
    assert estimate is not None
    assert estimate.run_seconds == pytest.approx(12 * 4 * 3)
    assert estimate.is_scaled


def test_time_is_unknown_without_comparable_runs(store: Store) -> None:
    add_run(store, [0, 4])
    assert estimate_time(store, plan(architecture={"name": "lenet5"}), 1) is None
    assert estimate_time(store, plan(dataset="mnist"), 1) is None
