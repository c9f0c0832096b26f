"""The runs of the benchmark of training faults."""

from typing import Any

from benchmarks.fault_runs import (
    FaultPlan,
    few_images,
    halves_of_classes_in_turns,
    mixed_classes,
    sorted_by_class,
    test_images_in_training,
    without_class,
    wrong_labels,
)
from service.core.datasets import DATASETS

NOT_LEARNING = frozenset(
    {
        "learning-rate-too-high",
        "dead-units",
        "blank-maps",
        "class-forgotten",
        "exploding-gradients",
        "saturated-outputs",
    }
)
"""Kinds that a run with a far too high learning rate may show beside its own."""


def _scaled_input(deviation: float) -> dict[str, Any]:
    values = DATASETS["mnist"].default_input.model_dump(mode="json")
    return values | {"std": [deviation] * len(values["std"])}


DIVERGING = {
    "input": _scaled_input(1e-3),
    "optimizer": {"name": "sgd", "learning_rate": 100.0, "momentum": 0.99},
    "architecture": {"dropout": 0.0},
}

BARELY_TRAINED = frozenset({"blank-maps"})
"""Maps of a network near its initialization are often negative everywhere."""


def _optimizer(name: str, learning_rate: float) -> dict[str, Any]:
    return {"optimizer": {"name": name, "learning_rate": learning_rate}}


def _plan(name: str, kind: str, settings: dict[str, Any] | None = None, **rest: Any) -> FaultPlan:
    tolerated = frozenset(rest.pop("tolerated", frozenset()))
    return FaultPlan(name, settings or {}, frozenset({kind}), tolerated, **rest)


FAULTS = (
    _plan(
        "sgd 0.001",
        "learning-rate-too-low",
        _optimizer("sgd", 1e-3),
        tolerated=BARELY_TRAINED,
    ),
    _plan(
        "adam 1e-5",
        "learning-rate-too-low",
        _optimizer("adam", 1e-5),
        tolerated=BARELY_TRAINED,
    ),
    _plan("adam 0.1", "learning-rate-too-high", _optimizer("adam", 0.1), tolerated=NOT_LEARNING),
    _plan("sgd 2", "learning-rate-too-high", _optimizer("sgd", 2.0), tolerated=NOT_LEARNING),
    _plan("sgd 100, momentum", "diverging", DIVERGING, tolerated=NOT_LEARNING),
    _plan(
        "input times 1000",
        "exploding-gradients",
        {
            "input": _scaled_input(0.001),
            **_optimizer("sgd", 0.01),
        },
        tolerated=NOT_LEARNING | {"diverging", "saturated-outputs", "overfitting"},
    ),
    _plan("adam 0.2", "dead-units", _optimizer("adam", 0.2), tolerated=NOT_LEARNING),
    _plan(
        "sigmoid before softmax",
        "saturated-outputs",
        {
            "architecture": {"output_activation": "sigmoid"},
            **_optimizer("adam", 0.01),
            "epochs": 8,
        },
        tolerated={"blank-maps"},
    ),
    _plan(
        "60 images",
        "overfitting",
        {"architecture": {"dropout": 0.0}, "epochs": 8},
        change=few_images(60),
        tolerated={"saturated-outputs", "blank-maps", "classes-confused"},
    ),
    _plan("class missing", "class-missing", change=without_class),
    _plan("3 % wrong labels", "label-errors", change=wrong_labels(0.03)),
    _plan("8 % wrong labels", "label-errors", change=wrong_labels(0.08)),
    _plan("copies in the test", "test-images-in-training", change=test_images_in_training(10)),
    _plan(
        "sorted batches",
        "batches-sorted",
        order=sorted_by_class,
        tolerated=NOT_LEARNING,
    ),
    _plan(
        "two classes mixed",
        "classes-confused",
        change=mixed_classes,
        tolerated={"label-errors"},
    ),
    _plan("dropout 0.8", "accuracy-with-dropout", {"architecture": {"dropout": 0.8}}),
    _plan(
        "halves of the classes in turns",
        "class-forgotten",
        order=halves_of_classes_in_turns,
        tolerated=NOT_LEARNING,
    ),
    _plan("conv layer dead", "blank-maps", _optimizer("adam", 0.3), tolerated=NOT_LEARNING),
)
"""Each with the kind that it plants."""

CLEAN = (
    FaultPlan("base"),
    FaultPlan("adadelta", _optimizer("adadelta", 1.0)),
    FaultPlan("sgd 0.05", _optimizer("sgd", 0.05)),
    FaultPlan("sigmoid", {"architecture": {"hidden_activation": "sigmoid"}}),
    FaultPlan("no dropout", {"architecture": {"dropout": 0.0}}),
    FaultPlan("kernel 5", {"architecture": {"kernel_size": 5}}),
)
"""Settings in common use."""
