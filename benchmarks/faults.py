"""Training faults: how many planted ones the rules find, and how many clean runs they flag.

The thresholds in `core/insight/*_rules.py` were fixed on TUNING_SEEDS; the figures are of SEEDS.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.fault_plans import CLEAN, FAULTS
from benchmarks.fault_runs import FaultPlan, train_history
from benchmarks.mnist_folder import mnist_folder
from benchmarks.report import Figure, Report
from benchmarks.timing import Target
from service.core.datasets import DATASETS
from service.core.datasets.dataset import Dataset
from service.core.insight.training_rules import examine_training

TUNING_SEEDS = (100, 101, 102)
SEEDS = (200, 201)
CLEAN_SEEDS = (200, 201, 202, 203)


@dataclass(frozen=True)
class FaultOutcome:
    """The kinds that the rules found in a run of a plan."""

    plan: FaultPlan
    seed: int
    kinds: frozenset[str]

    @property
    def false_kinds(self) -> frozenset[str]:
        """Kinds that are neither planted nor a consequence of what is planted."""
        return self.kinds - self.plan.expected - self.plan.tolerated


@dataclass(frozen=True)
class FaultScores:
    """Recall and precision over runs, in total and by kind, and the share of clean runs flagged.

    Precision counts findings: planted kinds that were found, by those and the false ones.
    """

    recall: float
    precision: float
    clean_flagged: float
    recall_by_kind: dict[str, tuple[int, int]]  # found, planted
    false_by_kind: dict[str, int]

    @classmethod
    def of_outcomes(cls, outcomes: Sequence[FaultOutcome]) -> "FaultScores":
        """The scores of faulty and clean runs."""
        planted: Counter[str] = Counter(k for o in outcomes for k in o.plan.expected)
        hits: Counter[str] = Counter(k for o in outcomes for k in o.plan.expected & o.kinds)
        false: Counter[str] = Counter(k for o in outcomes for k in o.false_kinds)
        clean = [o for o in outcomes if not o.plan.expected]
        return cls(
            recall=_ratio(hits.total(), planted.total()),
            precision=_ratio(hits.total(), hits.total() + false.total()),
            clean_flagged=_ratio(sum(bool(o.false_kinds) for o in clean), len(clean)),
            recall_by_kind={kind: (hits[kind], planted[kind]) for kind in sorted(planted)},
            false_by_kind=dict(sorted(false.items())),
        )


def run_plans(data: Dataset, runs: Iterable[tuple[FaultPlan, int]]) -> list[FaultOutcome]:
    """Train each plan with its seed, and examine it."""
    outcomes = []
    for plan, seed in runs:
        findings, _ = examine_training(train_history(data, plan, seed))
        outcomes.append(FaultOutcome(plan, seed, frozenset(f.kind for f in findings)))
        missing = sorted(plan.expected - outcomes[-1].kinds)
        false = sorted(outcomes[-1].false_kinds)
        print(f"{plan.name}, seed {seed}: missing {missing}, false {false}", file=sys.stderr)
    return outcomes


def run(_: int, quick: bool) -> Report:
    data = DATASETS["mnist"].load(mnist_folder(), False)
    faulty = [(plan, seed) for plan in FAULTS for seed in SEEDS]
    clean = [(plan, seed) for plan in CLEAN for seed in CLEAN_SEEDS]
    runs = [faulty[0], clean[0]] if quick else [*faulty, *clean]
    scores = FaultScores.of_outcomes(run_plans(data, runs))
    by_kind = [
        Figure(f"recall of {kind}, of {planted}", "share", [hits / planted])
        for kind, (hits, planted) in scores.recall_by_kind.items()
    ]
    false = [
        Figure(f"false findings of {kind}", "findings", [count])
        for kind, count in scores.false_by_kind.items()
    ]
    return Report(
        "faults",
        f"{len(faulty)} runs with a planted fault and {len(clean)} without one: 1,500 MNIST images "
        "an epoch, 6 or 8 epochs, Table-1 network with 8/16 channels.",
        [],
        [],
        [
            Figure("recall", "share", [scores.recall], Target(">=", 0.8)),
            Figure("precision", "share", [scores.precision], Target(">=", 0.8)),
            Figure("clean runs flagged", "share", [scores.clean_flagged], Target("<=", 0.05)),
            *by_kind,
            *false,
        ],
    )


def _ratio(part: float, total: float) -> float:
    return part / total if total else 1.0
