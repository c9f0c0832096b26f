"""The rules of findings. A new one is a function of a run's history and an entry of the table."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from service.core.insight.finding import Finding, Severity, Unavailable
from service.core.insight.run_history import RunHistory
from service.core.insight.shortcuts import ShortcutKind, find_shortcuts
from service.core.insight.training_history import TrainingRule
from service.core.insight.training_rules import TRAINING_RULES

Findings = Iterator[Finding | Unavailable]


@dataclass(frozen=True)
class FindingRule:
    """A rule, and the kinds of the findings that it yields."""

    kinds: tuple[str, ...]
    evaluate: Callable[[RunHistory], Findings]
    source: str


def _evaluate_shortcuts(history: RunHistory) -> Findings:
    return find_shortcuts(history.exchange_tests)


def _rule_of_training(rule: TrainingRule) -> FindingRule:
    return FindingRule(
        kinds=(rule.kind,),
        evaluate=lambda history: rule.examine(history.training),
        source=rule.source,
    )


FINDING_RULES: tuple[FindingRule, ...] = (
    FindingRule(
        kinds=tuple(ShortcutKind),
        evaluate=_evaluate_shortcuts,
        source="exchange test, docs/insight.md",
    ),
    *(_rule_of_training(rule) for rule in TRAINING_RULES),
)

SEVERITY_ORDER = {severity: position for position, severity in enumerate(Severity)}


def evaluate_rules(history: RunHistory) -> tuple[list[Finding], list[Unavailable]]:
    """The findings of a run, the most severe first, and what could not be examined."""
    findings: list[Finding] = []
    unavailable: list[Unavailable] = []
    for rule in FINDING_RULES:
        for outcome in rule.evaluate(history):
            if isinstance(outcome, Finding):
                findings.append(outcome)
            else:
                unavailable.append(outcome)
    # Sorting is stable: findings of a rule stay in its order.
    findings.sort(key=lambda finding: SEVERITY_ORDER[finding.severity])
    return findings, unavailable
