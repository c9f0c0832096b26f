"""Small training runs with a known fault, and runs without one."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from service.core.datasets.dataset import Dataset, Split
from service.core.insight.epoch_insight import EpochInsight, EpochObserver
from service.core.insight.training_history import DivergedSteps, HistoryEpoch, TrainingHistory
from service.core.models.program_network import explained_network
from service.core.spec import RunSpec
from service.core.training import EpochResult, train
from service.errors import RunDiverged

TRAIN_IMAGES, TEST_IMAGES = 1_500, 500
EPOCHS = 6

BASE: dict[str, Any] = {
    "dataset": "mnist",
    "epochs": EPOCHS,
    "samples_per_epoch": TRAIN_IMAGES,
    "batch_size": 50,
    "architecture": {
        "channels": [8, 16],
        "hidden_units": 64,
        "hidden_activation": "relu",
        "dropout": 0.25,
    },
    "optimizer": {"name": "adam", "learning_rate": 2e-3},
}

ChangeData = Callable[[Dataset, int], Dataset]
Order = Callable[[Tensor, int, int], Tensor]
"""From all labels, the epoch from 1 and the seed to the indices of the epoch's images."""


@dataclass(frozen=True)
class FaultPlan:
    """A run: the kinds that must be found, and those that may be, as consequences.

    `change` plants a fault into the dataset, `order` into the order of an epoch's images.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    expected: frozenset[str] = frozenset()
    tolerated: frozenset[str] = frozenset()
    change: ChangeData | None = None
    order: Order | None = None


def small_dataset(data: Dataset, seed: int) -> Dataset:
    """TRAIN_IMAGES and TEST_IMAGES of a dataset, drawn by a seed."""
    generator = torch.Generator().manual_seed(seed)

    def draw(split: Split, count: int) -> Split:
        rows = torch.randperm(len(split.labels), generator=generator)[:count]
        return Split(split.images[rows], split.labels[rows])

    return replace(data, train=draw(data.train, TRAIN_IMAGES), test=draw(data.test, TEST_IMAGES))


def without_class(data: Dataset, seed: int) -> Dataset:
    """The images of one class get labels of no other: they are replaced by other images."""
    missing = seed % len(data.class_names)
    rows = (data.train.labels != missing).nonzero()[:, 0]
    rows = torch.cat([rows, rows[: TRAIN_IMAGES - len(rows)]])
    return replace(data, train=Split(data.train.images[rows], data.train.labels[rows]))


def wrong_labels(share: float) -> ChangeData:
    """Labels of a share of the training images, moved to another class."""

    def change(data: Dataset, seed: int) -> Dataset:
        generator = torch.Generator().manual_seed(seed)
        labels, classes = data.train.labels.clone(), len(data.class_names)
        rows = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
        offsets = torch.randint(1, classes, (len(rows),), generator=generator)
        labels[rows] = (labels[rows] + offsets) % classes
        return replace(data, train=Split(data.train.images, labels))

    return change


def test_images_in_training(count: int) -> ChangeData:
    """The first `count` test images are copies of training images."""

    def change(data: Dataset, seed: int) -> Dataset:
        rows = torch.arange(count) + seed
        images, labels = data.test.images.clone(), data.test.labels.clone()
        images[:count], labels[:count] = data.train.images[rows], data.train.labels[rows]
        return replace(data, test=Split(images, labels))

    return change


def mixed_classes(data: Dataset, seed: int) -> Dataset:
    """The labels of two classes are drawn by lot among both, in training and test."""
    generator = torch.Generator().manual_seed(seed)
    a = seed % len(data.class_names)
    b = (a + 1 + seed // 3 % 8) % len(data.class_names)

    def mix(split: Split) -> Split:
        labels = split.labels.clone()
        rows = ((labels == a) | (labels == b)).nonzero()[:, 0]
        lots = torch.randint(0, 2, (len(rows),), generator=generator)
        labels[rows] = torch.where(lots == 0, a, b)
        return Split(split.images, labels)

    return replace(data, train=mix(data.train), test=mix(data.test))


def few_images(count: int) -> ChangeData:
    """The first images of the training split alone, each as often as the split has room."""

    def change(data: Dataset, seed: int) -> Dataset:  # noqa: ARG001
        rows = torch.arange(TRAIN_IMAGES) % count
        return replace(data, train=Split(data.train.images[rows], data.train.labels[rows]))

    return change


def sorted_by_class(labels: Tensor, epoch: int, seed: int) -> Tensor:  # noqa: ARG001
    """All images in the order of their labels."""
    return labels.argsort(stable=True)


def halves_of_classes_in_turns(labels: Tensor, epoch: int, seed: int) -> Tensor:
    """At odd epochs the images of the first half of the classes, else of the others, shuffled."""
    generator = torch.Generator().manual_seed(1_000 * seed + epoch)
    order = torch.randperm(len(labels), generator=generator)
    is_first_half = labels[order] <= labels.max() // 2
    return order[is_first_half if epoch % 2 else ~is_first_half]


@contextmanager
def ordered_epochs(labels: Tensor, order: Order | None, seed: int) -> Iterator[None]:
    """Epochs in an order, in place of the service's shuffling."""
    if order is None:
        yield
        return
    original: Callable[..., Tensor] = torch.randperm
    epochs = itertools.count(1)

    def permute(count: int, **options: Any) -> Tensor:
        if options or count != len(labels):
            return original(count, **options)
        with patch.object(torch, "randperm", original):
            return order(labels, next(epochs), seed)

    with patch.object(torch, "randperm", permute):
        yield


def train_history(data: Dataset, plan: FaultPlan, seed: int) -> TrainingHistory:
    """The history of a run of a plan, as the service records it."""
    small = small_dataset(data, seed)
    if plan.change is not None:
        small = plan.change(small, seed)
    settings = {**BASE, "dataset": data.name, "seed": seed, **plan.settings}
    settings["architecture"] = {**BASE["architecture"], **plan.settings.get("architecture", {})}
    spec = RunSpec.model_validate(settings)
    observer = EpochObserver(spec, small)
    epochs: list[HistoryEpoch] = []
    insight: EpochInsight | None = None
    facts, diverged = None, None
    try:
        with ordered_epochs(small.train.labels, plan.order, seed):
            for result in train(spec, small):
                insight = _observe(observer, result, spec)
                facts = insight.facts or facts
                epochs.append(_history_epoch(result, insight))
    except RunDiverged as error:
        diverged = DivergedSteps(error.epoch, error.losses, error.gradient_norms)
    return TrainingHistory(
        class_count=len(small.class_names),
        epochs=epochs,
        has_diverged=diverged is not None,
        diverged_steps=diverged,
        dropout=settings["architecture"]["dropout"],
        facts=facts,
        hardest=insight.hardest if insight else (),
        mistakes=insight.mistakes if insight else None,
    )


def _observe(observer: EpochObserver, result: EpochResult, spec: RunSpec) -> EpochInsight:
    result.network.eval()
    return observer.observe(
        result, lambda: explained_network(result.network, spec.source.image_shape)
    )


def _history_epoch(result: EpochResult, insight: EpochInsight) -> HistoryEpoch:
    return HistoryEpoch(
        epoch=result.epoch,
        train_loss=result.train_loss,
        train_accuracy=result.train_accuracy,
        test_loss=result.test_loss,
        test_accuracy=result.test_accuracy,
        per_class_accuracy=result.per_class_accuracy,
        values=insight.values,
    )
