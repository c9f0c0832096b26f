"""An epoch of training: sampled images, batches, metrics, and a network that learns."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from service.core import training
from service.core.datasets.dataset import Split
from service.core.input import InputSpec
from service.core.optimizers import OPTIMIZERS
from service.core.spec import RunSpec
from service.core.training import EpochResult, train


class StopTraining(Exception):
    pass


@pytest.fixture
def spec() -> Callable[..., RunSpec]:
    """A short run of a small network on digits."""

    def short(**fields: object) -> RunSpec:
        architecture = {"channels": [2, 4], "hidden_units": 8}
        body = {"dataset": "digits", "epochs": 2, "samples_per_epoch": 60, "batch_size": 25}
        return RunSpec.model_validate(body | {"architecture": architecture} | fields)

    return short


def test_results_are_epoch_0_and_the_requested_epochs(spec, few_digits):
    results = list(train(spec(epochs=3), few_digits))
    assert [result.epoch for result in results] == [0, 1, 2, 3]
    assert [result.train_loss is None for result in results] == [True, False, False, False]
    assert [result.train_accuracy is None for result in results] == [True, False, False, False]
    assert {result.learning_rate for result in results} == {1.0}
    assert all(result.seconds > 0 for result in results)


def test_epoch_0_is_the_untrained_network(spec, few_digits):
    run = spec(seed=7)
    with training.seeded_rng(7, 0, torch.device("cpu")):
        fresh = run.architecture.build((1, 28, 28), 10)
    first = next(train(run, few_digits))
    for ours, theirs in zip(first.network.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_next_epoch_is_trained_only_on_demand(spec, few_digits):
    batches = []
    results = train(spec(), few_digits, after_batch=lambda *counts: batches.append(counts))
    next(results)
    assert batches == []
    next(results)
    assert batches == [(25, 60), (50, 60), (60, 60)]


def test_samples_of_an_epoch_are_drawn_without_replacement(spec, few_digits, monkeypatch):
    # The first pixel of each training image is its index, the second marks training images.
    numbered = few_digits.train.images.clone()
    numbered[:, 0, 0, 0] = torch.arange(240)
    numbered[:, 0, 0, 1] = 200
    data = replace(few_digits, train=Split(numbered, few_digits.train.labels))
    indices: list[int] = []
    to_network_input = training.to_network_input

    def record_indices(images: torch.Tensor, *args: object) -> torch.Tensor:
        if (images[:, 0, 0, 1] == 200).all():
            indices.extend(images[:, 0, 0, 0].tolist())
        return to_network_input(images, *args)

    monkeypatch.setattr(training, "to_network_input", record_indices)
    results = train(spec(epochs=2, samples_per_epoch=100), data)
    next(results)
    assert indices == []
    next(results)
    first_epoch, indices[:] = list(indices), []
    next(results)
    assert len(set(first_epoch)) == len(first_epoch) == 100
    assert len(set(indices)) == len(indices) == 100
    assert first_epoch != indices
    assert set(first_epoch) != set(indices)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_learns(spec, few_digits, name):
    run = spec(
        epochs=6,
        samples_per_epoch=240,
        batch_size=10,
        architecture={"channels": [4, 8], "hidden_units": 32, "hidden_activation": "relu"},
        optimizer={"name": name},
    )
    untrained, *_, last = train(run, few_digits)
    assert untrained.test_loss == pytest.approx(math.log(10), abs=0.2)  # random guessing
    assert last.test_loss < untrained.test_loss - 0.5
    assert last.train_loss < untrained.test_loss - 0.4
    assert last.test_accuracy > untrained.test_accuracy + 0.1


def test_bfloat16_learns_and_keeps_its_weights_in_float32(spec, few_digits):
    weights = {}
    for precision in ("float32", "bfloat16"):
        run = spec(precision=precision, samples_per_epoch=240, batch_size=10)
        losses = []
        for result in train(run, few_digits):
            losses.append(result.test_loss)
            weights[precision] = result.network.output.weight.detach()
        assert losses[-1] < losses[0]
        assert weights[precision].dtype == torch.float32
    assert torch.allclose(weights["float32"], weights["bfloat16"], atol=0.5)
    assert not torch.equal(weights["float32"], weights["bfloat16"])


def test_accuracy_is_the_weighted_mean_of_the_classes_accuracy(spec, few_digits):
    sizes = few_digits.test.labels.bincount(minlength=10)
    for result in train(spec(samples_per_epoch=240), few_digits):
        hits = [share * size for share, size in zip(result.per_class_accuracy, sizes, strict=True)]
        assert sum(hits) / 60 == pytest.approx(result.test_accuracy)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_exception_after_a_batch_ends_the_training(spec, few_digits, batch):
    calls: list[tuple[int, int]] = []

    def stop(*counts: int) -> None:
        calls.append(counts)
        if len(calls) == batch:
            raise StopTraining

    results = train(spec(), few_digits, after_batch=stop)
    next(results)
    with pytest.raises(StopTraining):
        next(results)
    assert calls == [(25, 60), (50, 60), (60, 60)][:batch]
    assert next(results, None) is None


def test_learning_rate_of_an_epoch_is_the_schedules(spec, few_digits):
    run = spec(
        epochs=4,
        optimizer={"name": "sgd", "learning_rate": 0.2},
        schedule={"name": "step", "interval_epochs": 1, "reduction_factor": 0.5},
    )
    for result in train(run, few_digits):
        expected = 0.2 * 0.5 ** max(0, result.epoch - 1)
        assert result.learning_rate == pytest.approx(expected)
        assert result.optimizer.param_groups[0]["lr"] == result.learning_rate


def test_step_of_an_epoch_is_its_learning_rate_times_the_gradient(spec, few_digits):
    # Of the first batch of plain SGD: twice the rate gives twice the step.
    steps = {}
    for warmup_epochs in (0, 1):  # rate 1 and 1/2 in the first epoch
        run = spec(
            epochs=1,
            samples_per_epoch=20,
            batch_size=20,
            optimizer={"name": "sgd", "learning_rate": 1.0},
            schedule={"warmup_epochs": warmup_epochs},
        )
        weights = [result.network.output.bias.detach().clone() for result in train(run, few_digits)]
        steps[warmup_epochs] = weights[1] - weights[0]
    assert torch.allclose(steps[0], 2 * steps[1], rtol=1e-4, atol=1e-6)


def test_weight_decay_of_sgd_shrinks_the_weights_by_its_product_with_the_rate(spec, few_digits):
    biases = {}
    for weight_decay in (0.0, 0.25):
        optimizer = {"name": "sgd", "learning_rate": 0.5, "weight_decay": weight_decay}
        run = spec(epochs=1, samples_per_epoch=20, batch_size=20, optimizer=optimizer)
        results = train(run, few_digits)
        initial = next(results).network.output.bias.detach().clone()
        biases[weight_decay] = next(results).network.output.bias.detach().clone()
    assert torch.allclose(biases[0.25], biases[0.0] - 0.5 * 0.25 * initial, atol=1e-7)


def test_label_smoothing_raises_the_training_loss_alone(spec, few_digits):
    losses = {}
    for smoothing in (0.0, 0.5):
        run = spec(epochs=1, label_smoothing=smoothing, optimizer={"name": "sgd"}, batch_size=60)
        untrained, trained = train(run, few_digits)
        losses[smoothing] = (untrained.test_loss, trained.train_loss)
        with training.seeded_rng(0, 1, torch.device("cpu")):
            indices = torch.randperm(240)[:60]
            network = next(train(run, few_digits)).network.train()
            logits = network(training.to_network_input(few_digits.train.images[indices]))
        labels = few_digits.train.labels[indices]
        # Label smoothing of Szegedy et al. 2016: the mean over all classes joins the label's.
        log_probabilities = logits.log_softmax(1)
        label_term = log_probabilities[torch.arange(60), labels].mean()
        expected = -(1 - smoothing) * label_term - smoothing * log_probabilities.mean()
        assert trained.train_loss == pytest.approx(expected.item(), rel=1e-5)
    assert losses[0.0][0] == losses[0.5][0]
    assert losses[0.0][1] != losses[0.5][1]


def test_augmentation_changes_training_images_alone(spec, few_digits, monkeypatch):
    batches: list[torch.Tensor] = []
    to_network_input = training.to_network_input

    def record(images: torch.Tensor, input_spec: InputSpec) -> torch.Tensor:
        batches.append(images.clone())
        return to_network_input(images, input_spec)

    monkeypatch.setattr(training, "to_network_input", record)
    run = spec(epochs=1, samples_per_epoch=240, batch_size=240, augmentation={"crop_padding": 3})
    list(train(run, few_digits))
    test_images, train_images, last_test_images = batches
    assert torch.equal(test_images, few_digits.test.images)
    assert torch.equal(last_test_images, few_digits.test.images)
    originals = {image.numpy().tobytes() for image in few_digits.train.images}
    unchanged = sum(image.numpy().tobytes() in originals for image in train_images)
    assert unchanged < 20  # one of 49 windows is the original


def test_run_without_epochs_evaluates_the_untrained_network(spec, few_digits):
    (result,) = train(spec(epochs=0), few_digits)
    assert (result.epoch, result.train_loss) == (0, None)
    assert result.test_loss == pytest.approx(math.log(10), abs=0.2)


def test_missing_gpu_is_refused(spec, few_digits, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no CUDA device"):
        next(train(spec(device="cuda"), few_digits))
    assert isinstance(next(train(spec(device="auto"), few_digits)), EpochResult)
