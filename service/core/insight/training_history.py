"""What the rules of training faults know of a run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from service.core.insight.dataset_facts import DatasetFacts
from service.core.insight.finding import Finding, Unavailable
from service.core.insight.mistakes import Mistakes
from service.core.insight.sample_statistics import ListedImage

Findings = Iterator[Finding | Unavailable]


@dataclass(frozen=True)
class HistoryEpoch:
    """An epoch of a run: losses in nats, accuracies and shares 0..1; None where not recorded."""

    epoch: int
    train_loss: float | None = None
    train_accuracy: float | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None
    per_class_accuracy: Sequence[float] = ()
    values: Mapping[str, float | None] = field(default_factory=dict)  # measures by name


@dataclass(frozen=True)
class DivergedSteps:
    """The last steps before a loss that was not finite."""

    epoch: int
    losses: Sequence[float]
    gradient_norms: Sequence[float]  # NaN where not measured


@dataclass(frozen=True)
class TrainingHistory:
    """The recorded training of a run, epoch 0 first."""

    class_count: int
    epochs: Sequence[HistoryEpoch]
    has_diverged: bool = False
    diverged_steps: DivergedSteps | None = None
    dropout: float = 0.0
    facts: DatasetFacts | None = None
    hardest: Sequence[ListedImage] = ()
    mistakes: Mistakes | None = None  # of the last epoch

    @property
    def training_epochs(self) -> Sequence[HistoryEpoch]:
        """The epochs after the untrained network."""
        return [epoch for epoch in self.epochs if epoch.epoch > 0]

    def series(self, name: str) -> list[float]:
        """A metric of the training epochs without missing values: `train_loss`, `test_loss`."""
        values = (getattr(epoch, name) for epoch in self.training_epochs)
        return [value for value in values if value is not None]

    def last_value(self, name: str) -> tuple[int, float] | None:
        """The last epoch with a measure of that name, and its value."""
        for epoch in reversed(self.epochs):
            value = epoch.values.get(name)
            if value is not None:
                return epoch.epoch, value
        return None

    @property
    def chance_loss(self) -> float:
        """Loss of the best answer that ignores the image, in nats: the entropy of the labels."""
        if self.facts is None or sum(self.facts.train_class_sizes) == 0:
            return float(np.log(self.class_count))
        shares = np.array(self.facts.train_class_sizes) / sum(self.facts.train_class_sizes)
        shares = shares[shares > 0]
        return float(-(shares * np.log(shares)).sum())


@dataclass(frozen=True)
class TrainingRule:
    """One entry of the table: the rule of a kind, and its source."""

    kind: str
    examine: Callable[[TrainingHistory], Findings]
    source: str
