"""The same spec gives the same bits, even if other code draws random numbers."""

import random
from collections.abc import Iterable
from operator import attrgetter

import numpy as np
import pytest
import torch

from service.core import checkpoints
from service.core.checkpoints import CheckpointHeader
from service.core.optimizers import OPTIMIZERS
from service.core.spec import RunSpec
from service.core.training import EpochResult, seeded_rng, train

CPU = torch.device("cpu")


def spec(**fields: object) -> RunSpec:
    body = {
        "dataset": "digits",
        "epochs": 2,
        "samples_per_epoch": 120,
        "batch_size": 30,
        "device": "cpu",
        "architecture": {"channels": [2, 4], "hidden_units": 8},
    }
    return RunSpec.model_validate(body | fields)


def digests(run: RunSpec, results: Iterable[EpochResult]) -> list[str]:
    """SHA-256 of each epoch's checkpoint."""
    return [
        checkpoints.digest(
            checkpoints.encode(
                result.network,
                CheckpointHeader.for_epoch(run, result.epoch),
            )
        )
        for result in results
    ]


@pytest.mark.parametrize(
    "fields",
    [*({"optimizer": {"name": name}} for name in OPTIMIZERS), {"precision": "bfloat16"}],
    ids=str,
)
def test_the_same_spec_twice_gives_equal_checkpoints(few_digits, fields):
    run = spec(**fields)
    ours, theirs = (digests(run, train(run, few_digits)) for _ in range(2))
    assert ours == theirs
    assert len(set(ours)) == 3


def test_another_seed_gives_another_network_from_epoch_0_on(few_digits):
    ours, theirs = (digests(run, train(run, few_digits)) for run in (spec(seed=0), spec(seed=1)))
    assert not set(ours) & set(theirs)


def test_the_same_spec_twice_gives_equal_metrics(few_digits):
    metrics = attrgetter(
        "train_loss", "train_accuracy", "test_loss", "test_accuracy", "per_class_accuracy"
    )
    ours, theirs = ([metrics(result) for result in train(spec(), few_digits)] for _ in range(2))
    assert ours == theirs


def test_random_numbers_drawn_before_and_between_epochs_change_nothing(few_digits):
    expected = digests(spec(), train(spec(), few_digits))

    def disturbed() -> Iterable[EpochResult]:
        for result in train(spec(), few_digits):
            yield result
            torch.manual_seed(result.epoch + 99)
            torch.rand(1000)
            np.random.default_rng().random(10)
            random.random()

    torch.manual_seed(12345)
    torch.rand(7)
    assert digests(spec(), disturbed()) == expected


def test_training_does_not_change_the_global_generator(few_digits):
    torch.manual_seed(4)
    expected = torch.rand(6)
    torch.manual_seed(4)
    numbers = [torch.rand(2) for _ in train(spec(), few_digits)]
    assert torch.equal(torch.cat(numbers), expected)


def test_random_numbers_depend_on_seed_and_epoch_alone():
    def draw(seed: int, epoch: int) -> list[float]:
        with seeded_rng(seed, epoch, CPU):
            return torch.rand(4).tolist()

    assert draw(3, 5) == draw(3, 5)
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1), (2**32 - 1, 0), (0, 10_000)]
    assert len({tuple(draw(*pair)) for pair in pairs}) == len(pairs)


def test_first_epochs_do_not_depend_on_the_number_of_epochs(few_digits):
    short_spec, long_spec = spec(epochs=1), spec(epochs=2)
    assert (
        digests(short_spec, train(short_spec, few_digits))
        == digests(long_spec, train(long_spec, few_digits))[:2]
    )
