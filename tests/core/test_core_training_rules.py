"""Each rule of training faults fires on a history worked out by hand, and not on its neighbor."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.core.insight.dataset_facts import DatasetFacts
from service.core.insight.finding import Finding
from service.core.insight.mistakes import Mistakes
from service.core.insight.sample_statistics import ListedImage
from service.core.insight.training_history import DivergedSteps, HistoryEpoch, TrainingHistory
from service.core.insight.training_rules import TRAINING_RULES, examine_training
from service.report.finding_sentences import TEMPLATES

FALLING = [1.0, 0.6, 0.45, 0.4, 0.38, 0.37]
FACTS = DatasetFacts((100, 100, 100), (50, 50, 50), 0)


def history(
    train_losses: list[float] | None = None,
    test_losses: list[float] | None = None,
    values: dict[str, float | None] | None = None,
    per_class: list[list[float]] | None = None,
    **rest: Any,
) -> TrainingHistory:
    """Six epochs of three classes that learn well, with changes."""
    train, test = train_losses or FALLING, test_losses or FALLING
    accuracies = per_class or [[0.9, 0.9, 0.9]] * len(train)
    epochs = [HistoryEpoch(0, None, None, 1.1, 0.33, [0.3, 0.3, 0.4])]
    epochs += [
        HistoryEpoch(
            i + 1, loss, 0.9, test[i], float(np.mean(accuracies[i])), accuracies[i], values or {}
        )
        for i, loss in enumerate(train)
    ]
    options: dict[str, Any] = {"facts": FACTS, **rest}
    return TrainingHistory(class_count=3, epochs=epochs, **options)


def confused(pairs: int) -> Mistakes:
    """`pairs` images of class 0 that were taken for class 1."""
    return Mistakes(np.arange(pairs), np.zeros(pairs, np.int64), np.ones(pairs, np.int64))


def with_dropout(train_accuracy: float, dropout: float) -> TrainingHistory:
    base = history(dropout=dropout)
    last = replace(base.epochs[-1], train_accuracy=train_accuracy)
    return replace(base, epochs=[*base.epochs[:-1], last])


LABELS = {"presented_images": 1000.0, "median_confidence": 0.9}
SUSPECT = ListedImage(7, 2, 6, 0.03, 0)
STEPS = DivergedSteps(3, [1.0, float("nan")], [1.0, 1.0, 1.0, 80.0])

CASES: dict[str, tuple[TrainingHistory, TrainingHistory]] = {
    "diverging": (history(has_diverged=True, diverged_steps=STEPS), history()),
    "exploding-gradients": (
        history(values={"gradient_norm_median": 1.0, "gradient_norm_max": 60.0}),
        history(values={"gradient_norm_median": 1.0, "gradient_norm_max": 20.0}),
    ),
    # 1.1 at epoch 0, and the same fall at each epoch.
    "learning-rate-too-low": (
        history(test_losses=[1.05, 1.0, 0.95, 0.9, 0.85, 0.8]),
        history(test_losses=FALLING),
    ),
    "learning-rate-too-high": (
        history(train_losses=[0.9, 0.5, 0.9, 0.4, 0.9, 0.5]),
        history(train_losses=[0.9, 0.5, 0.51, 0.45, 0.46, 0.4]),
    ),
    "overfitting": (
        history([0.9, 0.5, 0.3, 0.2, 0.1, 0.05], [0.9, 0.6, 0.5, 0.6, 0.7, 0.8]),
        # The test loss rises as much, and the training loss with it.
        history([0.9, 0.5, 0.4, 0.5, 0.6, 0.7], [0.9, 0.6, 0.5, 0.6, 0.7, 0.8]),
    ),
    "blank-maps": (
        history(values={"blank_share:conventional:saturated": 0.6}),
        history(values={"blank_share:conventional:saturated": 0.2}),
    ),
    "dead-units": (
        history(values={"dead_unit_share": 0.9}),
        history(values={"dead_unit_share": 0.3}),
    ),
    "saturated-outputs": (
        history(values={"saturated_share": 0.8}),
        history(values={"saturated_share": 0.2}),
    ),
    "class-missing": (
        history(facts=DatasetFacts((100, 0, 100), (50, 50, 50), 0)),
        history(facts=DatasetFacts((100, 1, 100), (50, 50, 50), 0)),
    ),
    "label-errors": (
        history(values={**LABELS, "doubtful_images": 40.0}, hardest=[SUSPECT]),
        history(values={**LABELS, "doubtful_images": 8.0}, hardest=[SUSPECT]),
    ),
    "test-images-in-training": (
        history(facts=DatasetFacts((100,) * 3, (50,) * 3, 1, ("test:4",))),
        history(facts=DatasetFacts((100,) * 3, (50,) * 3, 0)),
    ),
    "batches-sorted": (
        history(values={"label_repeat_share": 0.97}),
        history(values={"label_repeat_share": 0.36}),
    ),
    "class-forgotten": (
        history(per_class=[[0.9, 0.9, a] for a in (0.9, 0.2, 0.9, 0.1, 0.9, 0.9)]),
        history(per_class=[[0.9, 0.9, a] for a in (0.9, 0.2, 0.9, 0.8, 0.9, 0.9)]),
    ),
    "classes-confused": (
        history(mistakes=confused(40), per_class=[[0.2, 0.9, 0.9]] * 6),
        history(mistakes=confused(10), per_class=[[0.8, 0.9, 0.9]] * 6),
    ),
    "accuracy-with-dropout": (with_dropout(0.7, 0.5), with_dropout(0.7, 0.0)),
}


def kinds(run: TrainingHistory) -> set[str]:
    return {finding.kind for finding in examine_training(run)[0]}


def test_every_rule_has_a_case() -> None:
    assert set(CASES) == {rule.kind for rule in TRAINING_RULES}
    assert all(rule.source and TEMPLATES["en"].refutations[rule.kind] for rule in TRAINING_RULES)


@pytest.mark.parametrize("kind", CASES)
def test_rule_fires(kind: str) -> None:
    assert kind in kinds(CASES[kind][0])


@pytest.mark.parametrize("kind", CASES)
def test_rule_does_not_fire(kind: str) -> None:
    assert kind not in kinds(CASES[kind][1])


def find(run: TrainingHistory, kind: str) -> Finding:
    return next(finding for finding in examine_training(run)[0] if finding.kind == kind)


def test_evidence_is_what_was_computed_by_hand() -> None:
    low = find(CASES["learning-rate-too-low"][0], "learning-rate-too-low")
    # 0.10 of a fall of 0.30: the last two of six epochs.
    assert low.evidence[0].value == pytest.approx(1 / 3)
    high = find(CASES["learning-rate-too-high"][0], "learning-rate-too-high")
    # Rises of 0.4 and 0.5 over four steps, by the mean loss 0.64.
    assert high.evidence[0].value == pytest.approx((0.9 / 4) / 0.64)
    overfit = find(CASES["overfitting"][0], "overfitting")
    assert overfit.evidence[0].value == pytest.approx(0.75 / 0.5)
    assert overfit.epochs == (3, 6)
    batches = find(CASES["batches-sorted"][0], "batches-sorted")
    assert batches.evidence[0].threshold == pytest.approx(1 / 3 + 0.3)


def test_findings_name_classes_and_images() -> None:
    assert find(CASES["class-missing"][0], "class-missing").class_indices == (1,)
    assert find(CASES["label-errors"][0], "label-errors").images == ("train:7",)
    assert find(CASES["test-images-in-training"][0], "test-images-in-training").images == (
        "test:4",
    )
    pair = find(CASES["classes-confused"][0], "classes-confused")
    assert pair.class_indices == (0, 1)
    assert pair.images[0] == "test:0"


def test_one_bad_epoch_confuses_nobody() -> None:
    accuracies = [[0.9, 0.9, 0.9]] * 5 + [[0.2, 0.9, 0.9]]
    assert "classes-confused" not in kinds(history(mistakes=confused(40), per_class=accuracies))


def test_loss_above_guessing_is_a_learning_rate_too_high() -> None:
    above = history(train_losses=[1.3] * 6, test_losses=[1.2] * 6)
    assert "learning-rate-too-high" in kinds(above)
    # Three classes, so guessing costs ln 3 = 1.0986.
    below = history(train_losses=[1.09] * 6, test_losses=[1.09] * 6)
    assert "learning-rate-too-high" not in kinds(below)


def test_exploding_gradients_before_a_divergence() -> None:
    assert "exploding-gradients" in kinds(history(has_diverged=True, diverged_steps=STEPS))


def test_recorded_run_without_values_is_unavailable_not_faulty() -> None:
    bare = TrainingHistory(3, [HistoryEpoch(e) for e in range(6)])
    findings, unavailable = examine_training(bare)
    assert findings == []
    assert {item.kind for item in unavailable} >= {
        "blank-maps", "dead-units", "class-missing", "label-errors", "test-images-in-training",
        "batches-sorted", "classes-confused", "overfitting",
    }  # fmt: skip


@pytest.mark.parametrize("change", [lambda h: replace(h, epochs=[]), lambda h: h])
def test_history_without_epochs_raises_nothing(
    change: Callable[[TrainingHistory], TrainingHistory],
) -> None:
    examine_training(change(TrainingHistory(3, [])))


def test_evidence_counts_the_images_of_the_sample() -> None:
    facts = DatasetFacts((100,) * 30, (50,) * 19 + (2,) * 11, 0)  # 19 classes of 5 images, one of 2
    run = history(values={"dead_unit_share": 0.9}, facts=facts)
    (evidence,) = find(run, "dead-units").evidence
    assert evidence.n == 97


def test_noise_of_a_loss_near_zero_is_no_swing() -> None:
    run = history(train_losses=[0.4, 0.003, 0.0002, 0.0001, 0.002])
    assert "learning-rate-too-high" not in kinds(run)
    swinging = history(train_losses=[0.4, 0.3, 0.02, 0.01, 0.2])
    assert "learning-rate-too-high" in kinds(swinging)
