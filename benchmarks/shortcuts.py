"""Planted shortcuts: how many of those that networks use the exchange test finds."""

import json
import math
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain

from benchmarks.report import Figure, Report
from benchmarks.shortcut_runs import (
    TUNING_KINDS,
    Outcome,
    clean_settings,
    planted_settings,
    run_setting,
)
from benchmarks.timing import Target
from service.core.datasets.plants import PLANT_KINDS
from service.core.insight.operators import OPERATORS

WILSON_Z = 1.959964  # of a two-sided confidence of 95 %


def run(rounds: int, quick: bool) -> Report:  # noqa: ARG001  networks differ by their seeds
    outcomes = []
    for setting in chain(planted_settings(quick), clean_settings(quick)):
        outcome = run_setting(setting)
        outcomes.append(outcome)
        print(json.dumps(summary(outcome)), file=sys.stderr, flush=True)
    return Report(
        "shortcuts",
        conditions(outcomes, quick),
        [],
        [],
        figures(outcomes),
    )


def summary(outcome: Outcome) -> dict[str, object]:
    """A run in one line."""
    return {
        "kind": outcome.setting.kind,
        "class": outcome.setting.class_index,
        "correlation": outcome.setting.correlation,
        "seed": outcome.setting.seed,
        "data": outcome.setting.dataset + (" color" if outcome.setting.is_color else ""),
        "settings": {**outcome.setting.architecture, **outcome.setting.spec},
        "accuracy": round(outcome.test_accuracy, 3),
        "use": round(outcome.use, 3),
        "available": outcome.is_available,
        "shares": {name: round(share, 3) for name, share in outcome.largest_shares.items()},
        "findings": [
            (finding.attribute, finding.class_indices[0], round(finding.evidence[0].value, 3))
            for finding in outcome.findings
        ],
        "regions": [asdict(f.region) for f in outcome.findings if f.region],
    }


def figures(outcomes: Sequence[Outcome]) -> list[Figure]:
    """Recall of used plants, and accusations of clean runs, with bounds of 95 %."""
    used_runs = [o for o in outcomes if o.is_used]
    runs_with_operator = [o for o in used_runs if has_operator(o)]
    check_runs = [o for o in runs_with_operator if o.setting.kind not in TUNING_KINDS]
    clean = [o for o in outcomes if o.setting.kind is None and o.is_available]
    rows = [
        _share(
            "used plants with an operator, found",
            [o.is_hit for o in runs_with_operator],
            at_least=0.9,
        ),
        _share("of these, kinds that no threshold was fixed on", [o.is_hit for o in check_runs]),
        _share(
            "used plants without an operator, found",
            [o.is_hit for o in used_runs if not has_operator(o)],
        ),
        _share("used plants, another class accused", [bool(o.wrong_classes) for o in used_runs]),
        _share("clean runs accused", [bool(o.wrong_classes) for o in clean]),
    ]
    return [figure for figure in rows if figure is not None]


def conditions(outcomes: Sequence[Outcome], quick: bool) -> str:
    """What was run, and the results by kind of plant and by operator."""
    by_kind: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.setting.kind is not None:
            by_kind[outcome.setting.kind].append(outcome)
    lines = [
        f"{len(outcomes)} networks of Table 1 with 8 and 16 channels and 64 hidden units, 3 epochs "
        f"of 3,500 images{' (quick)' if quick else ''}. Used: the plant changes the predictions of "
        "10 % of the images.",
        "",
        "| plant | thresholds | runs | used | used and found | another class accused |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for kind, rows in by_kind.items():
        used_runs = [row for row in rows if row.is_used]
        lines.append(
            f"| {kind} | {'fixed' if kind in TUNING_KINDS else 'checked'} | {len(rows)} "
            f"| {len(used_runs)} | {sum(row.is_hit for row in used_runs)} "
            f"| {sum(bool(row.wrong_classes) for row in rows)} |"
        )
    clean = [row for row in outcomes if row.setting.kind is None and row.is_available]
    lines += ["", "| operator | threshold | largest S of clean runs |", "| --- | ---: | ---: |"]
    for name, operator in OPERATORS.items():
        shares = [row.largest_shares[name] for row in clean if name in row.largest_shares]
        if shares:
            lines.append(f"| {name} | {operator.threshold} | {max(shares):.3f} |")
    return "\n".join(lines)


def has_operator(outcome: Outcome) -> bool:
    """Whether an operator exchanges the property of the plant."""
    kind = PLANT_KINDS.get(outcome.setting.kind or "")
    return kind is None or kind.operator is not None


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """Bounds of a share with a confidence of 95 % (Wilson 1927)."""
    share, square = hits / count, WILSON_Z**2 / count
    center = (share + square / 2) / (1 + square)
    radius = WILSON_Z / (1 + square) * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, center - radius), min(1.0, center + radius)


def _share(name: str, hits: Sequence[bool], at_least: float | None = None) -> Figure | None:
    if not hits:
        return None
    lower, upper = wilson_interval(sum(hits), len(hits))
    target = None if at_least is None else Target(">=", at_least)
    return Figure(
        f"{name}: {sum(hits)} of {len(hits)} (95 %: {lower:.2f} to {upper:.2f})",
        "share",
        [sum(hits) / len(hits)],
        target,
    )
