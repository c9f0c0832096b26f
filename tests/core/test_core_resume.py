"""Training that resumes from an epoch's state is bit-identical to uninterrupted training."""

from collections.abc import Callable
from typing import Any

import pytest

from service.core.checkpoints import CheckpointHeader, digest, encode
from service.core.datasets import DATASETS
from service.core.datasets.dataset import Dataset
from service.core.spec import RunSpec
from service.core.training import EpochResult, train
from service.core.training_state import TrainingState, encode_optimizer
from service.errors import CheckpointCorrupt

OPTIMIZERS = [
    {"name": "adadelta"},
    {"name": "sgd", "learning_rate": 0.1},
    {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
    {"name": "adam"},
    {"name": "adamw"},
]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return DATASETS["digits"].load(tmp_path_factory.mktemp("digits"), False)


SMALL = {"channels": [4, 8], "hidden_units": 16}


def spec_of(architecture: dict[str, Any] | None = None, **fields: object) -> RunSpec:
    return RunSpec.model_validate(
        {
            "dataset": "digits",
            "samples_per_epoch": 150,
            "batch_size": 50,
            "seed": 3,
            "architecture": SMALL | (architecture or {}),
            **fields,
        }
    )


def network_of(spec: RunSpec, result: EpochResult) -> bytes:
    header = CheckpointHeader(
        spec.architecture, result.epoch, spec.dataset, spec.source.image_shape, ()
    )
    return encode(result.network, header)


def states(spec: RunSpec, data: Dataset, **options: object) -> list[tuple[TrainingState, tuple]]:
    """Network and optimizer as bytes, and metrics except the duration, after each epoch."""
    results = []
    for result in train(spec, data, **options):
        state = TrainingState(
            result.epoch, network_of(spec, result), encode_optimizer(result.optimizer, result.epoch)
        )
        metrics = (
            result.train_loss, result.train_accuracy, result.test_loss, result.test_accuracy,
            tuple(result.per_class_accuracy), result.learning_rate,
        )  # fmt: skip
        results.append((state, metrics))
    return results


@pytest.mark.parametrize(
    "optimizer",
    [
        OPTIMIZERS[0],
        *(pytest.param(optimizer, marks=pytest.mark.torture) for optimizer in OPTIMIZERS[1:]),
    ],
    ids=str,
)
def test_run_resumed_after_any_epoch_equals_the_uninterrupted_one(digits, optimizer) -> None:
    spec = spec_of(epochs=2, optimizer=optimizer)
    uninterrupted = states(spec, digits)
    assert len({digest(state.network) for state, _ in uninterrupted}) == 3
    for stopped_after in range(2):
        resumed = states(spec, digits, resume_from=uninterrupted[stopped_after][0])
        assert resumed == uninterrupted[stopped_after + 1 :]


def test_bfloat16_run_without_dropout_resumes_exactly(digits) -> None:
    spec = spec_of(epochs=2, precision="bfloat16", architecture={"dropout": 0.0})
    uninterrupted = states(spec, digits)
    assert states(spec, digits, resume_from=uninterrupted[1][0]) == uninterrupted[2:]


def test_run_with_schedule_smoothing_and_augmentation_resumes_exactly(digits) -> None:
    spec = spec_of(
        epochs=3,
        optimizer={"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
        architecture={"channels": [2, 4]},
        schedule={"name": "cosine", "warmup_epochs": 1, "final_factor": 0.2},
        label_smoothing=0.1,
        augmentation={"flip_probability": 0.5, "shift_fraction": 0.1, "crop_padding": 2},
    )
    uninterrupted = states(spec, digits)
    assert len({metrics[-1] for _, metrics in uninterrupted}) == 3  # rates, that of epoch 0 twice
    for stopped_after in range(3):
        resumed = states(spec, digits, resume_from=uninterrupted[stopped_after][0])
        assert resumed == uninterrupted[stopped_after + 1 :]


def test_run_extended_after_its_cosine_equals_one_with_all_epochs_from_the_start(digits) -> None:
    fields = {"architecture": {"channels": [2, 4]}}
    short_run = states(spec_of(epochs=2, schedule={"name": "cosine"}, **fields), digits)
    extended = spec_of(epochs=3, schedule={"name": "cosine", "span_epochs": 2}, **fields)
    assert states(extended, digits) == [
        *short_run, *states(extended, digits, resume_from=short_run[-1][0]),
    ]  # fmt: skip


def test_extended_run_equals_a_run_with_all_epochs_from_the_start(digits) -> None:
    short_run = states(spec_of(epochs=1), digits)
    long_run = states(spec_of(epochs=3), digits)
    assert short_run == long_run[:2]
    assert states(spec_of(epochs=3), digits, resume_from=short_run[-1][0]) == long_run[2:]


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: TrainingState(state.epoch, state.network, b""),
        lambda state: TrainingState(state.epoch, state.network[:-4], state.optimizer),
        lambda state: TrainingState(state.epoch, state.network, b"\x80\x04pickle."),
        lambda state: TrainingState(state.epoch + 1, state.network, state.optimizer),
    ],
    ids=["no optimizer", "truncated network", "pickle", "another epoch"],
)
def test_damaged_training_state_is_refused(
    digits, damage: Callable[[TrainingState], TrainingState]
) -> None:
    spec = spec_of(epochs=2)
    state = states(spec, digits)[1][0]
    with pytest.raises(CheckpointCorrupt):
        next(train(spec, digits, resume_from=damage(state)))
