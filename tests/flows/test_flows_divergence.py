"""Diverged runs: what is stored of their steps, the suggested rate, and that they do not resume."""

import math
from pathlib import Path

import pytest

from service.core.optimizers import SGD, Adadelta, Adam, AnyOptimizer
from service.core.spec import RunSpec
from service.errors import NotFound, RunConflict
from service.flows import runs as run_flows
from service.flows.divergence import SuggestionReason, read_divergence, suggest_learning_rate
from service.flows.transfer.exporting import export_run
from service.flows.transfer.importing import import_run
from service.flows.workspace import Workspace
from service.jobs.inline import InlineExecutor
from service.store import divergences, run_lifecycle, runs
from service.store.divergences import Divergence
from service.store.run_status import RunStatus
from service.store.runs import RunError
from service.store.store import Store
from tests.faults.tiny import DIVERGING, TINY
from tests.idle_executor import IdleExecutor


def fail_run(store: Store, error_type: str) -> int:
    spec = RunSpec.model_validate(TINY)
    with store.write_session() as session:
        run_id = runs.create(session, "", [], spec.model_dump(mode="json"), spec.epochs).id
        run_lifecycle.claim(session, run_id)
        run_lifecycle.finish(session, run_id, RunStatus.FAILED, RunError(error_type, "It failed."))
    return run_id


def test_diverged_run_has_its_last_steps_here_and_where_it_is_imported(
    store: Store, workspace: Workspace, tmp_path: Path
) -> None:
    spec = RunSpec.model_validate(DIVERGING)
    run_id = run_flows.start_run(store, InlineExecutor(), workspace, spec).id
    report = read_divergence(store, run_id)
    assert report.learning_rate == 100.0
    assert report.suggestion.learning_rate == 0.1
    assert report.steps is not None
    assert (report.steps.epoch, report.steps.first_step) == (1, 1)
    *losses, last_loss = report.steps.losses
    assert losses
    assert all(math.isfinite(loss) for loss in losses)
    assert not math.isfinite(last_loss)
    assert report.steps.gradient_norms[0] > 0

    file = tmp_path / "run.camreel"
    export_run(store, run_id, file)
    imported_steps = read_divergence(store, import_run(store, file).id).steps
    assert imported_steps is not None
    assert imported_steps.losses[:-1] == losses
    assert math.isnan(imported_steps.losses[-1])


def test_diverged_run_is_not_resumed_and_says_which_rate_to_try(
    store: Store, workspace: Workspace
) -> None:
    run_id = fail_run(store, "diverged")
    for epochs_total in (None, 9):
        with pytest.raises(RunConflict, match=r"diverged.*smaller learning rate.*0\.1\."):
            run_flows.resume_run(store, IdleExecutor(), workspace, run_id, epochs_total)
    assert read_divergence(store, run_id).steps is None  # as for a run of an older version


def test_run_that_failed_otherwise_is_resumed_and_has_no_divergence(
    store: Store, workspace: Workspace
) -> None:
    run_id = fail_run(store, "oom")
    with pytest.raises(NotFound, match="has not diverged"):
        read_divergence(store, run_id)
    resumed = run_flows.resume_run(store, IdleExecutor(), workspace, run_id, None)
    assert resumed.status == RunStatus.QUEUED


def test_values_that_are_not_finite_are_stored(store: Store) -> None:
    run_id = fail_run(store, "diverged")
    steps = Divergence(3, 101, [2.5, math.inf], [1e300, math.nan])
    with store.write_session() as session:
        divergences.add(session, run_id, steps)
    with store.read_session() as session:
        stored = divergences.get(session, run_id)
    assert stored is not None
    assert (stored.epoch, stored.first_step, stored.losses) == (3, 101, [2.5, math.inf])
    assert stored.gradient_norms[0] == math.inf  # too large for float32
    assert math.isnan(stored.gradient_norms[1])


@pytest.mark.parametrize(
    ("optimizer", "learning_rate", "reason"),
    [
        (SGD(learning_rate=100.0), 0.1, SuggestionReason.DEFAULT),
        (SGD(learning_rate=1.0), 0.1, SuggestionReason.FRACTION),
        (SGD(learning_rate=0.1), 0.01, SuggestionReason.FRACTION),
        (SGD(learning_rate=0.7), 0.07, SuggestionReason.FRACTION),
        (Adam(learning_rate=0.5), 0.001, SuggestionReason.DEFAULT),
        (Adadelta(), 0.1, SuggestionReason.FRACTION),
    ],
    ids=str,
)
def test_suggestion_is_a_tenth_or_the_default_if_that_is_smaller(
    optimizer: AnyOptimizer, learning_rate: float, reason: SuggestionReason
) -> None:
    suggestion = suggest_learning_rate(optimizer)
    assert (suggestion.learning_rate, suggestion.reason) == (learning_rate, reason)
