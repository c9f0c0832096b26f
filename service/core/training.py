"""The training loop: yields the result of each epoch, and stores nothing."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import nn

from service.core.datasets.dataset import Dataset, Split
from service.core.input import InputSpec
from service.core.models.architecture import (
    accepts_single_image,
    set_training_mode,
    trainable_parameters,
)
from service.core.models.stages import compute_logits
from service.core.preprocessing import to_network_input
from service.core.presentations import PresentationRecorder, Presentations, repeat_share
from service.core.spec import RunSpec
from service.core.step_history import StepHistory
from service.core.training_state import TrainingState, restore_training_state

# Larger batches leave the processor's caches; smaller ones leave its cores idle.
EVALUATION_BATCH = 100

BatchCallback = Callable[[int, int], None]
"""Called with (images seen, images of the epoch); what it raises ends the training."""


@dataclass(frozen=True)
class EpochResult:
    """The result of one epoch. The next epoch trains the same `network` and `optimizer` on."""

    epoch: int
    train_loss: float | None  # mean in nats, with label smoothing, while learning; None for epoch 0
    train_accuracy: float | None  # 0..1, with dropout and augmentation on
    test_loss: float
    test_accuracy: float
    per_class_accuracy: list[float]
    learning_rate: float  # of the epoch; that of the first for epoch 0
    seconds: float  # training and testing of this epoch
    network: nn.Module
    optimizer: torch.optim.Optimizer
    test_predictions: npt.NDArray[np.int64]  # predicted class of each test image
    observations: "TrainingObservations | None" = None  # None for epoch 0


@dataclass(frozen=True)
class TrainingObservations:
    """What an epoch of training shows beside its metrics."""

    presentations: Presentations
    gradient_norm_median: float | None  # of the measured steps; None: none was measured
    gradient_norm_max: float | None
    loss_swing: float | None  # see `StepHistory.loss_swing`
    label_repeat_share: float | None  # of neighbors in the order of training, 0..1


@dataclass(frozen=True)
class SplitMetrics:
    """Metrics of a network on a split: mean loss in nats, accuracies 0..1."""

    loss: float
    accuracy: float
    per_class_accuracy: list[float]
    predictions: npt.NDArray[np.int64]  # predicted class of each image (N,)


def train(
    spec: RunSpec,
    data: Dataset,
    *,
    resume_from: TrainingState | None = None,
    weights_folder: Path | None = None,
    after_batch: BatchCallback | None = None,
) -> Iterator[EpochResult]:
    """Train a run; yields epoch 0, the untrained network, then epochs 1 to spec.epochs.

    An epoch's random numbers depend on (seed, epoch) alone. With `resume_from`, training starts at
    the epoch after it, and results are bit for bit those of an uninterrupted run. `weights_folder`
    contains weights to start from. Raises as `initialize_training`, RunDiverged when a loss is
    not finite, and what `after_batch` raises.
    """
    device = resolve_device(spec.device)
    network, optimizer = initialize_training(spec, device, resume_from, weights_folder)
    first_epoch = 0 if resume_from is None else resume_from.epoch + 1
    train_split, test_split = (_on(device, split) for split in (data.train, data.test))
    for epoch in range(first_epoch, spec.epochs + 1):
        start = time.perf_counter()
        learning_rate = spec.learning_rate(epoch)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        steps = StepHistory(epoch, network.parameters(), spec.batch_size)
        train_loss, train_accuracy, observations = None, None, None
        if epoch > 0:
            with seeded_rng(spec.seed, epoch, device):
                train_loss, train_accuracy, observations = _train_epoch(
                    network, optimizer, train_split, spec, steps, after_batch
                )
        test_metrics = evaluate_network(network, test_split, len(data.class_names), spec.input)
        # The last step of an epoch may diverge without a further training loss.
        steps.require_finite(test_metrics.loss)
        yield EpochResult(
            epoch=epoch,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            test_loss=test_metrics.loss,
            test_accuracy=test_metrics.accuracy,
            per_class_accuracy=test_metrics.per_class_accuracy,
            learning_rate=learning_rate,
            seconds=time.perf_counter() - start,
            network=network,
            optimizer=optimizer,
            test_predictions=test_metrics.predictions,
            observations=observations,
        )


def initialize_training(
    spec: RunSpec,
    device: torch.device,
    resume_from: TrainingState | None,
    weights_folder: Path | None = None,
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Network and optimizer before the first step, or restored from a state.

    Raises CheckpointCorrupt for a state of another run, WeightsUnavailable, and ValueError for an
    architecture that does not fit the images or the last batch.
    """
    source = spec.source
    with seeded_rng(spec.seed, 0, device):
        network = spec.architecture.build(source.image_shape, len(source.class_names))
        if resume_from is None:
            spec.architecture.initialize(network, source.image_shape, weights_folder)
    spec.architecture.freeze(network)
    last_batch = spec.samples_per_epoch % spec.batch_size or spec.batch_size
    if last_batch == 1 and not accepts_single_image(network, source.image_shape):
        raise ValueError(
            "batch_size: the last batch of an epoch has one image, and the batch normalization of "
            f"{spec.architecture.name} needs more"
        )
    # Channels last is the native format of the convolution libraries for CPU and GPU.
    network = network.to(device).to(memory_format=torch.channels_last)
    optimizer = spec.optimizer.build(trainable_parameters(network))
    if resume_from is not None:
        restore_training_state(resume_from, network, optimizer)
    return network, optimizer


def validate_training_state(spec: RunSpec, state: TrainingState) -> None:
    """Raises CheckpointCorrupt for a state from which a run of `spec` cannot be resumed."""
    initialize_training(spec, torch.device("cpu"), state)


def resolve_device(name: str) -> torch.device:
    """The device; `auto` is the GPU if there is one. Raises ValueError for `cuda` without one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: this machine has no CUDA device")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


@contextmanager
def seeded_rng(seed: int, epoch: int, device: torch.device) -> Iterator[None]:
    """A context whose random numbers depend on (seed, epoch) alone, without side effects.

    An epoch gives the same result in another process or after a restart.
    """
    (state,) = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(state))
        yield


def evaluate_network(
    network: nn.Module, split: Split, classes: int, input_spec: InputSpec | None = None
) -> SplitMetrics:
    """Metrics of the network on a whole split, in evaluation mode and float32."""
    was_training = network.training
    network.eval()
    loss = torch.zeros((), dtype=torch.float64, device=split.labels.device)
    predictions = []
    with torch.inference_mode():
        for start in range(0, len(split.labels), EVALUATION_BATCH):
            batch = slice(start, start + EVALUATION_BATCH)
            images, labels = split.images[batch], split.labels[batch]
            units = network(to_network_input(images, input_spec))
            logits = compute_logits(network, units)
            loss += F.cross_entropy(logits, labels, reduction="sum")
            predictions.append(logits.argmax(1))
    network.train(was_training)
    predicted = torch.cat(predictions)
    hits = split.labels[predicted == split.labels].bincount(minlength=classes)
    sizes = split.labels.bincount(minlength=classes)
    total = len(split.labels)
    return SplitMetrics(
        loss.item() / total,
        hits.sum().item() / total,
        (hits / sizes.clamp(min=1)).tolist(),
        predicted.cpu().numpy(),
    )


def _on(device: torch.device, split: Split) -> Split:
    return Split(split.images.to(device), split.labels.to(device))


def _train_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    split: Split,
    spec: RunSpec,
    steps: StepHistory,
    after_batch: BatchCallback | None,
) -> tuple[float, float, TrainingObservations]:
    """Train one epoch; returns its mean loss, its accuracy and what else it shows."""
    set_training_mode(network)
    device = split.labels.device
    indices = torch.randperm(len(split.labels))[: spec.samples_per_epoch].to(device)
    # Summed on the device, so that a GPU does not synchronize after each batch.
    loss_sum = torch.zeros((), dtype=torch.float64, device=device)
    recorder = PresentationRecorder(len(split.labels))
    images_trained = 0
    background = spec.source.background
    for batch in torch.split(indices, spec.batch_size):
        labels = split.labels[batch]
        images = spec.augmentation.apply(split.images[batch], background)
        with torch.autocast(
            device.type, torch.bfloat16, enabled=spec.precision == "bfloat16", cache_enabled=False
        ):
            signal = to_network_input(images, spec.input)
            units = network(signal.contiguous(memory_format=torch.channels_last))
        logits = compute_logits(network, units.float())
        loss = F.cross_entropy(logits, labels, label_smoothing=spec.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        steps.record(loss.detach())
        optimizer.step()
        loss_sum += loss.detach() * len(batch)
        recorder.record(batch, labels, logits)
        images_trained += len(batch)
        if after_batch is not None:
            after_batch(images_trained, spec.samples_per_epoch)
    steps.transfer()
    mean_loss = loss_sum.item() / images_trained
    steps.require_finite(mean_loss)
    presentations, hits = recorder.finish()
    observations = TrainingObservations(
        presentations,
        *steps.gradient_norm_range(),
        loss_swing=steps.loss_swing(),
        label_repeat_share=repeat_share(split.labels[indices]),
    )
    return mean_loss, hits / images_trained, observations
