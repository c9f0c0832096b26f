"""The table of the rules of training faults."""

from service.core.insight.finding import Finding, Unavailable
from service.core.insight.label_rules import LABEL_RULES
from service.core.insight.loss_rules import LOSS_RULES
from service.core.insight.map_rules import MAP_RULES
from service.core.insight.training_history import TrainingHistory

TRAINING_RULES = (*LOSS_RULES, *MAP_RULES, *LABEL_RULES)
"""All rules, one per kind."""


def examine_training(history: TrainingHistory) -> tuple[list[Finding], list[Unavailable]]:
    """The findings of all rules about a run, and the kinds that could not be examined."""
    outcomes = [outcome for rule in TRAINING_RULES for outcome in rule.examine(history)]
    return (
        [outcome for outcome in outcomes if isinstance(outcome, Finding)],
        [outcome for outcome in outcomes if isinstance(outcome, Unavailable)],
    )
