"""The training loop: yields what each epoch gave, and saves nothing."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it

from service.core.datasets.dataset import Dataset, Split
from service.core.models import StagedNetwork
from service.core.preprocessing import to_network_input
from service.core.spec import RunSpec
from service.core.training_state import TrainingState, restore_training_state
from service.errors import RunDiverged

# Larger batches leave the processor's caches; smaller ones leave its cores idle.
EVALUATION_BATCH = 100

BatchCallback = Callable[[int, int], None]
"""Called with (images seen, images of the epoch); what it raises ends the training."""


@dataclass(frozen=True)
class EpochResult:
    """What one epoch gave. `network` and `optimizer` go on when the next epoch is asked for."""

    epoch: int
    train_loss: float | None  # mean cross-entropy in nats while learning; None for epoch 0
    train_accuracy: float | None  # 0..1, with dropout on
    test_loss: float
    test_accuracy: float
    per_class_accuracy: list[float]
    learning_rate: float
    seconds: float  # training and testing of this epoch
    network: StagedNetwork
    optimizer: torch.optim.Optimizer


@dataclass(frozen=True)
class SplitMetrics:
    """A network on a split: mean loss in nats, accuracy 0..1, and accuracy by class."""

    loss: float
    accuracy: float
    per_class_accuracy: list[float]


def train(
    spec: RunSpec,
    data: Dataset,
    *,
    resume_from: TrainingState | None = None,
    after_batch: BatchCallback | None = None,
) -> Iterator[EpochResult]:
    """Train as `spec` says; yields epoch 0, the untrained network, then 1 to spec.epochs.

    All that is random in an epoch comes from (seed, epoch) alone. With `resume_from` the first is
    the epoch after it, and all are bit for bit what an uninterrupted run gives. Raises RunDiverged
    when a loss is no number any more, CheckpointCorrupt for a state that is not the run's, and
    whatever `after_batch` raises.
    """
    device = resolve_device(spec.device)
    network, optimizer = initialize_training(spec, device, resume_from)
    first = 0 if resume_from is None else resume_from.epoch + 1
    train_split, test_split = (_on(device, split) for split in (data.train, data.test))
    for epoch in range(first, spec.epochs + 1):
        started = time.perf_counter()
        learned: tuple[float | None, float | None] = (None, None)
        if epoch > 0:
            with seeded_rng(spec.seed, epoch, device):
                learned = _learn(network, optimizer, train_split, spec, epoch, after_batch)
        tested = evaluate_network(network, test_split, len(data.class_names))
        # After an epoch's last step only the test tells.
        _require_number(tested.loss, epoch)
        yield EpochResult(
            epoch=epoch,
            train_loss=learned[0],
            train_accuracy=learned[1],
            test_loss=tested.loss,
            test_accuracy=tested.accuracy,
            per_class_accuracy=tested.per_class_accuracy,
            learning_rate=spec.optimizer.learning_rate,
            seconds=time.perf_counter() - started,
            network=network,
            optimizer=optimizer,
        )


def initialize_training(
    spec: RunSpec, device: torch.device, resume_from: TrainingState | None
) -> tuple[StagedNetwork, torch.optim.Optimizer]:
    """Network and optimiser before the first step, or as they stood.

    Raises CheckpointCorrupt for a state that is not of such a run.
    """
    source = spec.source
    with seeded_rng(spec.seed, 0, device):
        network = spec.architecture.build(source.image_shape, len(source.class_names))
    # Channels last: the convolutions of the CPU's and the GPU's libraries are at home in it.
    network = network.to(device).to(memory_format=torch.channels_last)
    optimizer = spec.optimizer.build(network.parameters())
    if resume_from is not None:
        restore_training_state(resume_from, network, optimizer)
    return network, optimizer


def validate_training_state(spec: RunSpec, state: TrainingState) -> None:
    """A run of `spec` can go on from it. Raises CheckpointCorrupt."""
    initialize_training(spec, torch.device("cpu"), state)


def resolve_device(name: str) -> torch.device:
    """`auto` is the GPU if there is one. Raises ValueError for `cuda` without one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: this machine has no CUDA device")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


@contextmanager
def seeded_rng(seed: int, epoch: int, device: torch.device) -> Iterator[None]:
    """A block whose random numbers depend on (seed, epoch) alone, and disturb no others.

    So an epoch can be trained again, or first in another process, with the same result.
    """
    (state,) = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(state))
        yield


def evaluate_network(network: StagedNetwork, split: Split, classes: int) -> SplitMetrics:
    """Score the network on a whole split, in evaluation mode and float32."""
    was_training = network.training
    network.eval()
    loss = torch.zeros((), dtype=torch.float64, device=split.labels.device)
    hits = torch.zeros(classes, dtype=torch.int64, device=split.labels.device)
    with torch.inference_mode():
        for images, labels in zip(
            torch.split(split.images, EVALUATION_BATCH),
            torch.split(split.labels, EVALUATION_BATCH),
            strict=True,
        ):
            logits = network.logits(network(to_network_input(images)))
            loss += F.cross_entropy(logits, labels, reduction="sum")
            hits += labels[logits.argmax(1) == labels].bincount(minlength=classes)
    network.train(was_training)
    sizes = split.labels.bincount(minlength=classes)
    total = len(split.labels)
    return SplitMetrics(
        loss.item() / total,
        hits.sum().item() / total,
        (hits / sizes.clamp(min=1)).tolist(),
    )


def _on(device: torch.device, split: Split) -> Split:
    return Split(split.images.to(device), split.labels.to(device))


def _learn(
    network: StagedNetwork,
    optimizer: torch.optim.Optimizer,
    split: Split,
    spec: RunSpec,
    epoch: int,
    after_batch: BatchCallback | None,
) -> tuple[float, float]:
    """One epoch of training: its mean loss and accuracy."""
    network.train()
    device = split.labels.device
    drawn = torch.randperm(len(split.labels))[: spec.samples_per_epoch].to(device)
    # Summed on the device: a GPU is not made to wait for its own loss after each batch.
    loss_sum = torch.zeros((), dtype=torch.float64, device=device)
    hits = torch.zeros((), dtype=torch.int64, device=device)
    seen = 0
    for batch in torch.split(drawn, spec.batch_size):
        labels = split.labels[batch]
        with torch.autocast(
            device.type, torch.bfloat16, enabled=spec.precision == "bfloat16", cache_enabled=False
        ):
            units = network(
                to_network_input(split.images[batch]).contiguous(memory_format=torch.channels_last)
            )
        logits = network.logits(units.float())
        loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss_sum += loss.detach() * len(batch)
        hits += (logits.detach().argmax(1) == labels).sum()
        seen += len(batch)
        if after_batch is not None:
            after_batch(seen, spec.samples_per_epoch)
    mean_loss = loss_sum.item() / seen
    _require_number(mean_loss, epoch)
    return mean_loss, hits.item() / seen


def _require_number(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise RunDiverged(
            f"The loss became {loss} in epoch {epoch}; a smaller learning rate may help."
        )
