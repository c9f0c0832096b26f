"""Insights of runs: recorded with each epoch, continued on resuming, exported, and judged."""

from typing import Any

import numpy as np
import pytest

from service.core.insight.training_rules import examine_training
from service.core.spec import RunSpec
from service.errors import NotFound
from service.flows import runs as run_flows
from service.flows.findings import read_findings
from service.flows.insights import read_confusion, read_insights, read_probe_events
from service.flows.maps.pipeline import MapPipeline
from service.flows.training_histories import load_training_history
from service.flows.workspace import Workspace
from service.jobs.inline import InlineExecutor
from service.store import epoch_insights, epochs
from service.store.run_status import RunStatus
from service.store.store import Store
from tests.faults.tiny import DIVERGING, TINY

ALL_IMAGES: dict[str, Any] = TINY | {"samples_per_epoch": 300}


@pytest.fixture(autouse=True)
def unlimited_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures at every epoch: epochs of milliseconds have no share of time to spend."""
    monkeypatch.setattr("service.core.insight.epoch_insight.MAX_TIME_SHARE", 1e6)


def train_run(store: Store, workspace: Workspace, **changes: Any) -> int:
    spec = RunSpec.model_validate(ALL_IMAGES | changes)
    return run_flows.start_run(store, InlineExecutor(), workspace, spec).id


def rows(store: Store, run_id: int) -> list[dict[str, Any]]:
    with store.read_session() as session:
        return [
            {key: value for key, value in vars(row).items() if key != "run_id"}
            for row in epoch_insights.list_all(session, run_id)
        ]


def test_resumed_run_has_the_insights_of_an_uninterrupted_one(
    store: Store, workspace: Workspace
) -> None:
    # The last epoch also takes measures that others do not, so both stop at 1 and go on.
    resumed = train_run(store, workspace, epochs=1)
    run_flows.resume_run(store, InlineExecutor(), workspace, resumed, 3)
    uninterrupted = train_run(store, workspace, epochs=3)
    assert [row["epoch"] for row in rows(store, uninterrupted)] == [0, 1, 2, 3]
    assert rows(store, resumed) == rows(store, uninterrupted)


def test_insights_agree_with_the_metrics_of_the_epochs(store: Store, workspace: Workspace) -> None:
    run_id = train_run(store, workspace)
    insights = read_insights(store, run_id)
    with store.read_session() as session:
        metrics = [epoch.metrics for epoch in epochs.list_epochs(session, run_id)]
    assert insights.epochs == [0, 1, 2, 3]
    assert insights.values["presentations"][0] is None
    presentations = insights.values["presentations"][1]
    for epoch in range(1, 4):
        assert insights.values["presentations"][epoch] == pytest.approx(epoch * presentations)
        confusion = read_confusion(store, run_id, epoch)
        accuracy = confusion.matrix.trace() / confusion.matrix.sum()
        assert accuracy == pytest.approx(metrics[epoch].test_accuracy)
        by_class = confusion.matrix.diagonal() / confusion.matrix.sum(axis=1)
        assert by_class == pytest.approx(np.array(metrics[epoch].per_class_accuracy))
    for name in ("evidence_margin", "dead_unit_share", "saturated_share"):
        assert all(value is not None for value in insights.values[name]), name
    assert insights.values["untrained_similarity"][1] is not None
    assert insights.values["faithfulness:proposed"][2] is None


def test_measures_stop_when_their_share_of_time_is_spent(
    store: Store, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.core.insight.epoch_insight.MAX_TIME_SHARE", 0.0)
    insights = read_insights(store, train_run(store, workspace))
    is_measured = [value is not None for value in insights.values["dead_unit_share"]]
    assert is_measured == [True, True, False, True]
    assert all(value is not None for value in insights.values["mean_confidence"][1:])


def test_history_of_a_run_is_judged(store: Store, workspace: Workspace) -> None:
    history = load_training_history(store, train_run(store, workspace))
    assert history.class_count == 10
    assert history.facts is not None
    assert history.facts.duplicates == 0
    assert history.mistakes is not None
    unavailable = {item.kind for item in examine_training(history)[1]}
    # Three epochs are too few to judge the course of a loss.
    assert {"overfitting", "learning-rate-too-low"} <= unavailable
    assert "batches-sorted" not in unavailable


def test_diverged_run_is_found(store: Store, workspace: Workspace) -> None:
    spec = RunSpec.model_validate(DIVERGING)
    run_id = run_flows.start_run(store, InlineExecutor(), workspace, spec).id
    findings = read_findings(MapPipeline(store, workspace.data_dir), run_id)
    assert "diverging" in {finding.kind for finding in findings.items}
    assert findings.status == RunStatus.FAILED


def test_run_of_an_earlier_version_has_no_insights(store: Store, workspace: Workspace) -> None:
    run_id = train_run(store, workspace, epochs=1)
    with store.write_session() as session:
        session.execute(epoch_insights.EpochInsightRow.__table__.delete())
    assert read_insights(store, run_id).epochs == []
    with pytest.raises(NotFound):
        read_confusion(store, run_id, 1)
    _, unavailable = examine_training(load_training_history(store, run_id))
    assert {item.kind for item in unavailable} >= {"dead-units", "label-errors"}


def test_probe_events_follow_the_predictions(store: Store, workspace: Workspace) -> None:
    courses = read_probe_events(store, train_run(store, workspace))
    assert len(courses) == 10
    for course in courses:
        for event in course.events:
            if event.type in ("first-correct", "relearned"):
                assert event.predicted_class == course.label
            if event.type == "forgotten":
                assert event.previous_class == course.label
