"""Experiments on every database: totals, the order of the queue, and deletion."""

from typing import Any

import pytest

from service.errors import ExperimentNotFound, RunNotFound
from service.store import experiments, run_lifecycle, runs
from service.store.experiments import NewRun
from service.store.run_status import RunStatus
from service.store.store import Store

SPEC: dict[str, Any] = {"seed": 0}


def new_runs(count: int) -> list[NewRun]:
    return [NewRun(position, f"run {position}", ["x"], SPEC, 5) for position in range(count)]


def test_totals_count_runs_by_status_and_recorded_epochs(store: Store) -> None:
    with store.write_session() as session:
        first = experiments.create(session, "first", "", {"seeds": [0]})
        second = experiments.create(session, "second", "", {"seeds": [0]})
        ids = experiments.add_runs(session, first.id, new_runs(3), None)
        lease = run_lifecycle.claim(session, ids[1])
        assert lease is not None
        run_lifecycle.advance(session, ids[1], 4, lease=lease)
    with store.read_session() as session:
        totals = experiments.count_runs(session, [first.id, second.id])
        rows = experiments.list_runs(session, first.id, after_position=0, limit=1)
        assert [row.id for row in experiments.list_newest(session, limit=5)] == [2, 1]
    # Runs without an epoch count as 0, not as -1.
    assert totals[first.id].by_status == {RunStatus.QUEUED: 2, RunStatus.RUNNING: 1}
    assert (totals[first.id].epochs_done, totals[first.id].epochs_total) == (4, 15)
    assert (totals[second.id].total, totals[second.id].epochs_done) == (0, 0)
    assert [(position, run.id, run.tags) for position, run in rows] == [(1, ids[1], ["x"])]


def test_single_runs_are_queued_before_those_of_experiments(store: Store) -> None:
    with store.write_session() as session:
        experiment = experiments.create(session, "", "", {})
        ids = experiments.add_runs(session, experiment.id, new_runs(2), None)
        single = runs.create(session, "single", [], SPEC, 5).id
        assert [run.id for run in runs.list_queue(session)] == [single, *ids]
        runs.check_queue_limit(session, 2)


def test_deletion_hides_the_runs_and_leaves_other_experiments(store: Store) -> None:
    with store.write_session() as session:
        first = experiments.create(session, "", "", {})
        second = experiments.create(session, "", "", {})
        ids = experiments.add_runs(session, first.id, new_runs(2), None)
        other_ids = experiments.add_runs(session, second.id, new_runs(1), None)
        run_lifecycle.mark_deleted(session, ids[0])
        experiments.delete_with_runs(session, first.id)
    with store.read_session() as session:
        with pytest.raises(ExperimentNotFound):
            experiments.get(session, first.id)
        with pytest.raises(RunNotFound):
            runs.get(session, ids[1])
        assert runs.get(session, other_ids[0]).experiment_id == second.id
