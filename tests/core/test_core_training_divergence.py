"""A run whose loss or weights become NaN or infinite ends with RunDiverged."""

import math

import pytest
import torch

from service.core import training
from service.core.optimizers import SGD
from service.core.spec import RunSpec
from service.core.training import train
from service.errors import RunDiverged


class Exploding(torch.optim.SGD):
    """Sets all weights to NaN, as too large a step does."""

    def step(self, closure: None = None) -> None:
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    weight.fill_(math.nan)


def spec(batch_size: int) -> RunSpec:
    return RunSpec.model_validate(
        {
            "dataset": "digits",
            "epochs": 3,
            "samples_per_epoch": 20,
            "batch_size": batch_size,
            "architecture": {"channels": [2, 2], "hidden_units": 4},
            "optimizer": {"name": "sgd"},
        }
    )


@pytest.fixture
def exploding(monkeypatch) -> None:
    monkeypatch.setattr(SGD, "build", lambda _self, parameters: Exploding(parameters))


@pytest.mark.usefixtures("exploding")
@pytest.mark.parametrize("batch_size", [10, 20], ids=["in mid-epoch", "at the last step"])
def test_nan_weights_end_the_run_in_the_same_epoch(few_digits, batch_size):
    # After an epoch's last step only the evaluation detects it; its loss must not be recorded.
    results = train(spec(batch_size), few_digits)
    assert next(results).epoch == 0
    with pytest.raises(RunDiverged, match=r"epoch 1; a smaller learning rate may help"):
        next(results)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_non_finite_loss_ends_the_run(few_digits, monkeypatch, loss):
    results = train(spec(20), few_digits)
    next(results)
    cross_entropy = training.F.cross_entropy
    monkeypatch.setattr(
        training.F, "cross_entropy", lambda *args, **kwargs: cross_entropy(*args, **kwargs) * loss
    )
    with pytest.raises(RunDiverged, match=f"The loss became {loss} in epoch 1"):
        next(results)
