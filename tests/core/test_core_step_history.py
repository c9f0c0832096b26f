"""Losses and gradient norms of a diverged epoch, recorded without an effect on the results."""

import math
from collections.abc import Callable

import pytest
import torch

from service.core import step_history, training
from service.core.checkpoints import CheckpointHeader, digest, encode
from service.core.optimizers import SGD
from service.core.spec import RunSpec
from service.core.step_history import StepHistory
from service.core.training import train
from service.errors import RunDiverged

INFINITE_AFTER = 5  # steps of `Observer`


class Observer(torch.optim.SGD):
    """Notes each gradient norm, computed otherwise; then sets the weights to NaN."""

    def __init__(self, parameters: object) -> None:
        super().__init__(parameters, lr=0.1)
        self.norms: list[float] = []

    def step(self, closure: None = None) -> None:
        gradients = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
        self.norms.append(float(torch.cat(gradients).double().norm()))
        super().step()
        if len(self.norms) == INFINITE_AFTER:
            with torch.no_grad():
                self.param_groups[0]["params"][0].fill_(math.nan)


@pytest.fixture
def observers(monkeypatch) -> list[Observer]:
    """The optimizers of the test's runs."""
    optimizers: list[Observer] = []

    def build(_: SGD, parameters: object) -> Observer:
        optimizers.append(Observer(parameters))
        return optimizers[-1]

    monkeypatch.setattr(SGD, "build", build)
    return optimizers


@pytest.fixture
def spec() -> Callable[..., RunSpec]:
    def small(**fields: object) -> RunSpec:
        body = {
            "dataset": "digits",
            "epochs": 2,
            "samples_per_epoch": 240,
            "architecture": {"channels": [2, 2], "hidden_units": 4},
            "optimizer": {"name": "sgd"},
        }
        return RunSpec.model_validate(body | fields)

    return small


def divergence_of(run: RunSpec, data: object) -> RunDiverged:
    with pytest.raises(RunDiverged) as error:
        list(train(run, data))
    return error.value


def test_steps_end_with_the_first_loss_that_is_not_finite(few_digits, observers, spec):
    error = divergence_of(spec(batch_size=32), few_digits)
    assert (error.epoch, error.first_step) == (1, 1)
    assert len(error.losses) == len(error.gradient_norms) == INFINITE_AFTER + 1
    assert all(math.isfinite(loss) for loss in error.losses[:-1])
    assert math.isnan(error.losses[-1])
    measured_norms = observers[0].norms[: INFINITE_AFTER + 1]
    assert error.gradient_norms == pytest.approx(measured_norms, rel=1e-5, nan_ok=True)


@pytest.mark.usefixtures("observers")
def test_norms_of_small_batches_are_not_measured_at_every_step(few_digits, spec, monkeypatch):
    monkeypatch.setattr(step_history, "IMAGES_PER_NORM", 30)
    error = divergence_of(spec(batch_size=12), few_digits)
    is_measured = [math.isfinite(norm) for norm in error.gradient_norms]
    assert is_measured == [True, False, False, True, False, False]
    assert len(error.losses) == INFINITE_AFTER + 1


@pytest.mark.usefixtures("observers")
def test_epoch_ends_within_a_block_of_the_divergence(few_digits, spec, monkeypatch):
    monkeypatch.setattr(step_history, "BLOCK_STEPS", 4)
    monkeypatch.setattr(step_history, "MAX_STEPS", 3)
    images_seen: list[int] = []
    results = train(
        spec(batch_size=10), few_digits, after_batch=lambda seen, _: images_seen.append(seen)
    )
    next(results)
    with pytest.raises(RunDiverged) as error:
        next(results)
    assert images_seen[-1] == 70  # of 240; the eighth batch completes the block
    assert (error.value.first_step, len(error.value.losses)) == (4, 3)


def test_divergence_that_only_the_evaluation_detects_has_all_steps(few_digits, spec, monkeypatch):
    cross_entropy = training.F.cross_entropy
    monkeypatch.setattr(
        training.F,
        "cross_entropy",
        lambda *args, **kwargs: (
            cross_entropy(*args, **kwargs) * (math.inf if "reduction" in kwargs else 1)
        ),
    )
    error = divergence_of(spec(), few_digits)
    assert (error.epoch, error.losses, error.first_step) == (0, (), 1)
    assert "became inf in epoch 0" in str(error)


@pytest.mark.parametrize("batch_size", [1, 100])
def test_recording_changes_no_bit_of_the_results(few_digits, spec, monkeypatch, batch_size):
    run = spec(batch_size=batch_size, epochs=1, optimizer={"name": "adadelta"})

    def final_weights() -> str:
        result = list(train(run, few_digits))[-1]
        return digest(encode(result.network, CheckpointHeader.for_epoch(run, 1)))

    digests = [final_weights()]
    monkeypatch.setattr(StepHistory, "record", lambda *_: None)
    assert [*digests, final_weights()] == digests * 2
