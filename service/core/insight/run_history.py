"""What the rules of findings know of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.core.insight.shortcuts import ExchangeTest
from service.core.insight.training_history import TrainingHistory


@dataclass(frozen=True)
class RunHistory:
    """The stored results of a run, from which its findings follow."""

    class_count: int
    training: TrainingHistory
    exchange_tests: Sequence[ExchangeTest] = ()
