"""A run whose numbers are no numbers any more ends, and says so."""

import math

import pytest
import torch

from service.core import training
from service.core.optimizers import SGD
from service.core.spec import RunSpec
from service.core.training import train
from service.errors import RunDiverged


class Exploding(torch.optim.SGD):
    """Leaves weights that are no numbers, as a step too large does."""

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
@pytest.mark.parametrize("batch_size", [10, 20], ids=["in mid-epoch", "at its last step"])
def test_weights_that_are_no_numbers_end_the_run_in_their_epoch(few_digits, batch_size):
    # After an epoch's last step only the test tells: its loss must not pass for a measure.
    results = train(spec(batch_size), few_digits)
    assert next(results).epoch == 0
    with pytest.raises(RunDiverged, match=r"epoch 1; a smaller learning rate may help"):
        next(results)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_run(few_digits, monkeypatch, loss):
    results = train(spec(20), few_digits)
    next(results)
    real = training.F.cross_entropy
    monkeypatch.setattr(
        training.F, "cross_entropy", lambda *args, **kwargs: real(*args, **kwargs) * loss
    )
    with pytest.raises(RunDiverged, match=f"The loss became {loss} in epoch 1"):
        next(results)
