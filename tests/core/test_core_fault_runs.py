"""The rules on really trained runs: one with planted label errors, and the same without them."""

from benchmarks.fault_plans import CLEAN, FAULTS
from benchmarks.fault_runs import train_history
from service.core.datasets.dataset import Dataset
from service.core.insight.training_rules import examine_training


def kinds(mnist: Dataset, name: str, seed: int) -> set[str]:
    plan = next(plan for plan in (*FAULTS, *CLEAN) if plan.name == name)
    findings, _ = examine_training(train_history(mnist, plan, seed))
    return {finding.kind for finding in findings}


def test_wrong_labels_are_found_and_a_clean_run_is_not_flagged(mnist: Dataset) -> None:
    assert kinds(mnist, "3 % wrong labels", 100) == {"label-errors"}
    assert kinds(mnist, "base", 102) == set()
