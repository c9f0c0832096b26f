"""Findings of runs: what the stored results say."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.core.insight.finding import Finding, Unavailable
from service.core.insight.findings import evaluate_rules
from service.core.insight.run_history import RunHistory
from service.flows.exchange_tests import from_stored_test, is_complete_test
from service.flows.maps.pipeline import MapPipeline
from service.flows.training_histories import load_training_history
from service.store import exchange_tests, images, runs
from service.store.run_status import RunStatus


@dataclass(frozen=True)
class RunFindings:
    """The findings of a run, the most severe first, and what could not be examined."""

    run_id: int
    status: RunStatus
    class_names: tuple[str, ...]
    items: list[Finding]
    unavailable: list[Unavailable]
    map_epoch: int | None = None  # the last epoch with an exchange map
    probes: Mapping[int, str] = field(default_factory=dict)  # the first probe of each class


def read_findings(pipeline: MapPipeline, run_id: int) -> RunFindings:
    """The findings that follow from the stored results of a run. Raises RunNotFound.

    Nothing is computed: `exchange_test` computes what a run of an earlier version lacks.
    """
    with pipeline.store.read_session() as session:
        run = runs.get(session, run_id)
        explained_run = pipeline.runs.describe(lambda: session, run_id, run.spec)
        stored_tests = exchange_tests.list_for_run(session, run_id)
        probes = images.list_probes(session, run_id)
    history = RunHistory(
        class_count=len(explained_run.class_names),
        training=load_training_history(pipeline.store, run_id),
        exchange_tests=[from_stored_test(test) for test in stored_tests],
    )
    items, unavailable = evaluate_rules(history)
    map_epochs = [
        test.epoch for test in history.exchange_tests if test.gap is None and is_complete_test(test)
    ]
    return RunFindings(
        run_id,
        run.status,
        explained_run.class_names,
        items,
        unavailable,
        max(map_epochs, default=None),
        {probe.label: probe.reference for probe in reversed(probes) if probe.label is not None},
    )
