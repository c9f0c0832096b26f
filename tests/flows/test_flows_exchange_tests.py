"""Exchange tests during training: at the last epoch, and every tenth; under the worker's lease."""

from dataclasses import replace

import pytest

from service.core.insight.exchange import ExchangeGap
from service.core.spec import RunSpec
from service.core.training import EpochResult, train
from service.flows.exchange_tests import ExchangeRecorder
from service.flows.findings import read_findings
from service.flows.maps.pipeline import MapPipeline
from service.flows.runs import start_run
from service.flows.workspace import Workspace
from service.jobs.inline import InlineExecutor
from service.store import epochs, exchange_tests, run_lifecycle, runs
from service.store.epochs import Checkpoint, EpochMetrics
from service.store.run_lifecycle import Lease
from service.store.store import Store
from tests.insight.test_planted_networks import small_digits

SPEC = RunSpec.model_validate(
    {
        "dataset": "mnist",
        "epochs": 12,
        "samples_per_epoch": 1500,
        "architecture": {"channels": [2, 3], "hidden_units": 16, "hidden_activation": "relu"},
    }
)
METRICS = EpochMetrics(None, None, 1.0, 0.5, [0.5] * 10, 1.0, 1.0)


@pytest.fixture(autouse=True)
def ample_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time for all operators, however busy the machine is."""
    monkeypatch.setattr("service.flows.exchange_tests.MIN_BUDGET_SECONDS", 600.0)


@pytest.fixture(scope="module")
def result() -> EpochResult:
    """The first epoch of a small network, taken for any other."""
    *_, last_result = train(SPEC.model_copy(update={"epochs": 1}), small_digits())
    return last_result


@pytest.fixture
def lease(store: Store) -> Lease:
    """That of a running run with 13 epochs."""
    with store.write_session() as session:
        run = runs.create(session, "", [], SPEC.model_dump(mode="json"), SPEC.epochs)
        claimed_lease = run_lifecycle.claim(session, run.id, "worker")
        for epoch in range(SPEC.epochs + 1):
            checkpoint = Checkpoint(f"{epoch:064x}", 5, f"runs/{run.id}/epochs/{epoch}")
            epochs.add(session, run.id, epoch, METRICS, checkpoint)
    assert claimed_lease is not None
    return claimed_lease


def list_tests(store: Store, run_id: int) -> dict[int, list[str]]:
    """Names of the operators that were tested, by epoch."""
    with store.read_session() as session:
        tests = exchange_tests.list_for_run(session, run_id)
    return {t.epoch: [result["operator"] for result in t.document["results"]] for t in tests}


def test_surroundings_are_tested_every_tenth_epoch_and_all_operators_at_the_end(
    store: Store, lease: Lease, result: EpochResult
) -> None:
    recorder = ExchangeRecorder(store, lease, SPEC, small_digits())
    result.network.train()
    for epoch in (0, 1, 9, 10, 11, 12):
        recorder.examine(replace(result, epoch=epoch))
    tests = list_tests(store, lease.run_id)
    assert list(tests) == [10, 12]
    assert tests[10] == ["surround"]
    assert tests[12][:2] == ["surround", "level"]
    assert result.network.training  # as before
    with store.read_session() as session:
        assert exchange_tests.get(session, lease.run_id, 10).exchange_map is None
        assert exchange_tests.get(session, lease.run_id, 12).exchange_map.shape == (10, 28, 28)


def test_worker_that_has_lost_its_lease_records_no_test(
    store: Store, lease: Lease, result: EpochResult
) -> None:
    lost_lease = replace(lease, owner="another worker")
    recorder = ExchangeRecorder(store, lost_lease, SPEC, small_digits())
    recorder.examine(replace(result, epoch=12))
    assert list_tests(store, lease.run_id) == {}


def test_test_that_fails_does_not_end_the_run(
    store: Store, lease: Lease, result: EpochResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("service.flows.exchange_tests.sample_training_images", fail)
    ExchangeRecorder(store, lease, SPEC, small_digits()).examine(replace(result, epoch=12))
    assert list_tests(store, lease.run_id) == {}


def test_run_on_images_without_objects_says_so(store: Store, workspace: Workspace) -> None:
    spec = RunSpec(dataset="digits", epochs=1, samples_per_epoch=60)
    run = start_run(store, InlineExecutor(), workspace, spec)
    findings = read_findings(MapPipeline(store, workspace.data_dir), run.id)
    assert not [item for item in findings.items if item.kind.startswith("shortcut")]
    reasons = [gap.reason for gap in findings.unavailable if gap.kind == "shortcut"]
    assert reasons == [ExchangeGap.NO_PLAUSIBLE_OBJECT]
