"""Metrics of frameworks under the names that Camreel shows as curves of their own."""

from collections.abc import Mapping
from typing import Any

DEFAULT_NAMES: Mapping[str, str] = {
    "eval_loss": "test_loss",
    "eval_accuracy": "test_accuracy",
    "val_loss": "test_loss",
    "val_acc": "test_accuracy",
    "val_accuracy": "test_accuracy",
    "train_acc": "train_accuracy",
    "lr": "learning_rate",
}


def renamed(metrics: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The metrics that are numbers or tensors of one, renamed where `names` has their name."""
    return {
        names.get(name, name): value
        for name, value in metrics.items()
        if isinstance(value, int | float) or getattr(value, "ndim", 1) == 0
    }
