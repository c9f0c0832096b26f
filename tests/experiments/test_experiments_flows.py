"""Experiments as flows: their queue, and how they are cancelled, continued, extended, deleted."""

from pathlib import Path

import pytest

from service.core.spec import RunSpec
from service.errors import (
    ExperimentConflict,
    ExperimentNotFound,
    InvalidValue,
    KeyReused,
    QueueFull,
    RunNotFound,
)
from service.flows import runs as run_flows
from service.flows.deletion import DeletedRunCleaner, delete_run
from service.flows.doctor.examination import examine
from service.flows.experiments import Experiments
from service.flows.workspace import Workspace
from service.store import experiments as experiment_store
from service.store import run_lifecycle, runs
from service.store.request_keys import RequestKey
from service.store.run_status import RunStatus
from service.store.runs import RunError
from service.store.store import Store
from tests.experiments.conftest import RATE, grid_plan
from tests.idle_executor import IdleExecutor


def run_ids(store: Store, experiment_id: int) -> list[int]:
    with store.read_session() as session:
        return [run.id for _, run in experiment_store.list_runs(session, experiment_id)]


def statuses(store: Store, experiment_id: int) -> dict[RunStatus, int]:
    with store.read_session() as session:
        return experiment_store.count_runs(session, [experiment_id])[experiment_id].by_status


def finish(store: Store, run_id: int, status: RunStatus, error: str | None = None) -> None:
    with store.write_session() as session:
        assert run_lifecycle.finish(
            session,
            run_id,
            status,
            RunError(error, "") if error else None,
            from_statuses=(RunStatus.QUEUED,),
        )


def test_runs_are_created_in_order_and_know_their_experiment(
    store: Store, executor: IdleExecutor, experiments: Experiments
) -> None:
    experiment, replayed = experiments.start(grid_plan())
    ids = run_ids(store, experiment.id)
    assert (len(ids), replayed) == (8, False)
    assert [task.arguments[1] for task in executor.tasks] == ids
    with store.read_session() as session:
        run = runs.get(session, ids[7])
        rows = runs.list_newest(session, limit=100, experiment_id=experiment.id)
        assert runs.list_newest(session, limit=100, experiment_id=99) == []
    assert [row.id for row in rows] == ids[::-1]
    assert (run.experiment_id, run.tags, run.last_event) == (experiment.id, ["digits"], 1)
    assert run.name == "learning_rate 1, dropout 0.5, seed 1 · grid"
    assert run.spec["optimizer"]["learning_rate"] == 1.0


def test_queue_of_single_runs_is_not_filled_by_an_experiment_and_goes_first(
    store: Store, executor: IdleExecutor, experiments: Experiments, tmp_path: Path
) -> None:
    experiment, _ = experiments.start(grid_plan())
    spec = RunSpec(dataset="digits")
    workspace = Workspace(str(store.engine.url), "sql", tmp_path)
    single, _ = run_flows.start_run_once(store, executor, workspace, spec, 1, None)
    with pytest.raises(QueueFull):
        run_flows.start_run_once(store, executor, workspace, spec, 1, None)
    with store.read_session() as session:
        queue = [run.id for run in runs.list_queue(session)]
    assert queue == [single.id, *run_ids(store, experiment.id)]
    assert [task.in_background for task in executor.tasks] == [True] * 8 + [False]


def test_plan_with_an_invalid_setting_creates_nothing(
    store: Store, experiments: Experiments
) -> None:
    with pytest.raises(InvalidValue):
        experiments.start(grid_plan(base={"dataset": "digits", "probes": {"images": ["upload:x"]}}))
    with store.read_session() as session:
        assert experiment_store.list_newest(session, limit=5) == []
        assert runs.list_queue(session) == []


def test_same_key_starts_one_experiment(store: Store, experiments: Experiments) -> None:
    key = RequestKey("k" * 64, "d" * 64)
    first, _ = experiments.start(grid_plan(), key)
    second, replayed = experiments.start(grid_plan(), key)
    assert (second.id, replayed) == (first.id, True)
    assert len(run_ids(store, first.id)) == 8
    with pytest.raises(KeyReused):
        experiments.start(grid_plan(), RequestKey("k" * 64, "e" * 64))


def test_cancelled_runs_resume_and_failed_ones_are_retried(
    store: Store, executor: IdleExecutor, experiments: Experiments
) -> None:
    experiment, _ = experiments.start(grid_plan())
    ids = run_ids(store, experiment.id)
    finish(store, ids[0], RunStatus.FAILED, "oom")
    finish(store, ids[1], RunStatus.FAILED, "diverged")
    experiments.cancel(experiment.id)
    assert statuses(store, experiment.id) == {RunStatus.FAILED: 2, RunStatus.CANCELLED: 6}

    executor.tasks.clear()
    _, skipped = experiments.continue_runs(experiment.id, RunStatus.FAILED)
    assert [run.run_id for run in skipped] == [ids[1]]
    assert "diverge" in skipped[0].reason
    assert [task.arguments[1] for task in executor.tasks] == [ids[0]]
    experiments.continue_runs(experiment.id, RunStatus.CANCELLED)
    assert statuses(store, experiment.id) == {RunStatus.FAILED: 1, RunStatus.QUEUED: 7}
    with pytest.raises(ExperimentConflict, match="no run that cancelled"):
        experiments.continue_runs(experiment.id, RunStatus.CANCELLED)


def test_further_seeds_continue_the_positions(store: Store, experiments: Experiments) -> None:
    experiment, _ = experiments.start(grid_plan())
    extended = experiments.add_seeds(experiment.id, [9])
    assert extended.plan["seeds"] == [0, 1, 9]
    with store.read_session() as session:
        rows = experiment_store.list_runs(session, experiment.id, after_position=7)
    assert [position for position, _ in rows] == [8, 9, 10, 11]
    assert {run.spec["seed"] for _, run in rows} == {9}
    with pytest.raises(InvalidValue, match="seeds: the experiment has 9"):
        experiments.add_seeds(experiment.id, [9])
    with pytest.raises(ExperimentNotFound):
        experiments.add_seeds(99, [1])


def test_deletion_waits_for_running_runs_and_frees_all_rows(
    store: Store, experiments: Experiments
) -> None:
    experiment, _ = experiments.start(grid_plan())
    second, _ = experiments.start(grid_plan(name="another"))
    ids = run_ids(store, experiment.id)
    delete_run(store, ids[3])  # a single run can be deleted from its experiment
    with store.write_session() as session:
        lease = run_lifecycle.claim(session, ids[0])
    with pytest.raises(ExperimentConflict, match="cancel it first"):
        experiments.delete(experiment.id)
    with store.write_session() as session:
        run_lifecycle.finish(session, ids[0], RunStatus.SUCCEEDED, lease=lease)
    experiments.delete(experiment.id)
    with store.read_session() as session:
        with pytest.raises(ExperimentNotFound):
            experiment_store.get(session, experiment.id)
        with pytest.raises(RunNotFound):
            runs.get(session, ids[0])
    assert DeletedRunCleaner(store).free_space()
    assert len(run_ids(store, second.id)) == 8
    examination = examine(store, checks=["integrity", "experiments", "blobs"])
    assert [checked.finding.message for checked in examination.findings] == []


def test_doctor_reports_a_plan_that_cannot_be_read(store: Store, experiments: Experiments) -> None:
    experiment, _ = experiments.start(grid_plan())
    with store.write_session() as session:
        experiment_store.update_plan(session, experiment.id, "", "", {"seeds": []})
    (checked,) = examine(store, checks=["experiments"]).findings
    assert checked.finding.message == f"the plan of experiment {experiment.id} cannot be read"


def test_labels_of_runs_and_experiments_change_and_settings_do_not(
    store: Store, experiments: Experiments
) -> None:
    experiment, _ = experiments.start(grid_plan())
    run_id = run_ids(store, experiment.id)[2]
    with store.read_session() as session:
        initial_run = runs.get(session, run_id)
    run = run_flows.change_labels(store, run_id, name="mine", tags=["b", "a"], notes="one\ntwo")
    assert (run.name, run.tags, run.notes) == ("mine", ["b", "a"], "one\ntwo")
    assert run.spec == initial_run.spec | {"name": "mine", "tags": ["b", "a"]}
    assert run_flows.change_labels(store, run_id, notes="").tags == ["b", "a"]
    renamed = experiments.change_labels(experiment.id, notes="found it")
    assert (renamed.name, renamed.notes) == ("grid", "found it")
    assert renamed.plan["fields"][RATE] == {"values": [0.1, 1.0]}
