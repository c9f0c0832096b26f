"""Rules about losses and gradients: learning rates, divergence, overfitting.

The thresholds were fixed on the tuning seeds of `benchmarks/faults.py`; the figures are in
docs/insight-measures.md.
"""

import math
import statistics
from itertools import pairwise

from service.core.insight.finding import Evidence, Finding, Severity, Unavailable
from service.core.insight.training_history import Findings, TrainingHistory, TrainingRule

MIN_EPOCHS = 4
"""Training epochs from which on a course of losses can be judged."""

LATE_GAIN_THRESHOLD = 0.2
"""Share of the whole fall of the test loss that falls in the last third of the epochs. A straight
line has 0.33. Scaled by the exact length of that third, which is at least two epochs."""

MAX_STEADY_RISE = 1.02
"""Training loss of an epoch by the one before it, which dropout makes noisy, while it falls."""

MAX_LATE_GAIN = 0.75
"""A larger share of the fall in the last third is a sudden start, or a fall of almost nothing."""

EXPLODED_NORM_RATIO = 50.0
"""Largest gradient norm of an epoch by its median. Runs without a fault had at most 4.7
on tuning seed 102, planted ones at least 105."""

SWING_THRESHOLD = 0.12
"""Mean rise of the training loss between epochs, as a share of its mean. Not met by
any run without a fault on the tuning seeds."""

MIN_SWING_RATIO = 0.05
"""Mean training loss by the loss of guessing, below which a swing says nothing: near 0, the loss of
one batch is a multiple of another's."""

CHANCE_RATIO = 1.01
"""Largest training loss of an epoch by the loss of guessing: above it, steps did harm."""

STUCK_RATIO = 0.97
"""Training loss of the last epochs by the loss of guessing, from which on nothing is learned."""

OVERFIT_RATIO = 1.25
"""Test loss at the end by its minimum. Runs without a fault on the tuning seeds had at most 1.08,
planted ones at least 1.28."""

OVERFIT_GAP = 2.0
"""Test loss at the end by the training loss, which must be smaller for overfitting."""


def find_divergence(history: TrainingHistory) -> Findings:
    """The run ended with a loss that is not finite."""
    if not history.has_diverged:
        return
    steps = history.diverged_steps
    last_epoch = history.epochs[-1].epoch if history.epochs else 0
    epoch = last_epoch + 1 if steps is None else steps.epoch
    count = 1 if steps is None else len(steps.losses)
    yield Finding(
        kind="diverging",
        severity=Severity.WARNING,
        evidence=(Evidence("losses_not_finite", 1, 1, max(1, count)),),
        epochs=(epoch, epoch),
    )


DIVERGING = TrainingRule(
    kind="diverging",
    examine=find_divergence,
    source="Goodfellow et al. 2016, Deep Learning, section 8.2.4",
)


def find_exploding_gradients(history: TrainingHistory) -> Findings:
    """A gradient norm many times the median of its epoch, or of the steps before a divergence."""
    worst, worst_epoch = 0.0, 0
    for epoch in history.training_epochs:
        median = epoch.values.get("gradient_norm_median")
        largest = epoch.values.get("gradient_norm_max")
        if median and largest and largest / median > worst:
            worst, worst_epoch = largest / median, epoch.epoch
    if history.diverged_steps is not None:
        norms = [norm for norm in history.diverged_steps.gradient_norms if not math.isnan(norm)]
        finite = [norm for norm in norms if math.isfinite(norm)]
        if finite and statistics.median(finite) > 0:
            ratio = max(finite) / statistics.median(finite)
            if ratio > worst:
                worst, worst_epoch = ratio, history.diverged_steps.epoch
    if worst >= EXPLODED_NORM_RATIO:
        yield Finding(
            kind="exploding-gradients",
            severity=Severity.WARNING,
            evidence=(
                Evidence(
                    "gradient_norm_ratio", worst, EXPLODED_NORM_RATIO, len(history.training_epochs)
                ),
            ),
            epochs=(worst_epoch, worst_epoch),
        )


EXPLODING_GRADIENTS = TrainingRule(
    kind="exploding-gradients",
    examine=find_exploding_gradients,
    source="Pascanu et al., On the difficulty of training recurrent neural networks "
    "(arXiv:1211.5063), section 2",
)


def find_low_learning_rate(history: TrainingHistory) -> Findings:
    """Both losses still fall steadily at the end, and much of the test loss's fall is late."""
    losses = history.series("test_loss")
    if len(losses) < MIN_EPOCHS:
        yield Unavailable("learning-rate-too-low", "too-few-epochs")
        return
    start = next((e.test_loss for e in history.epochs if e.epoch == 0), None)
    course = losses if start is None else [start, *losses]
    third = max(2, len(losses) // 3)
    total = course[0] - course[-1]
    late_gain = course[-1 - third] - course[-1]
    is_steady = all(b < a for a, b in pairwise(course[-1 - third :])) and all(
        b < MAX_STEADY_RISE * a for a, b in pairwise(history.series("train_loss")[-1 - third :])
    )
    share = late_gain / total if total > 0 else 0.0
    # A straight line loses this share in its last third.
    threshold = LATE_GAIN_THRESHOLD * 3 * third / (len(course) - 1)
    if is_steady and threshold <= share <= MAX_LATE_GAIN:
        yield Finding(
            kind="learning-rate-too-low",
            severity=Severity.NOTE,
            evidence=(Evidence("late_gain_share", share, threshold, len(losses)),),
            epochs=(history.epochs[-1].epoch - third, history.epochs[-1].epoch),
        )


LEARNING_RATE_TOO_LOW = TrainingRule(
    kind="learning-rate-too-low",
    examine=find_low_learning_rate,
    source="Goodfellow et al. 2016, Deep Learning, section 11.4.1",
)


def find_high_learning_rate(history: TrainingHistory) -> Findings:
    """The training loss swings between epochs, or stays above the loss of guessing."""
    losses = history.series("train_loss")
    if history.has_diverged:
        return
    if len(losses) < MIN_EPOCHS:
        yield Unavailable("learning-rate-too-high", "too-few-epochs")
        return
    rises = [max(0.0, b - a) for a, b in pairwise(losses[1:])]
    mean_loss = statistics.fmean(losses[1:])
    swing = statistics.fmean(rises) / mean_loss
    is_swinging = swing >= SWING_THRESHOLD and mean_loss >= MIN_SWING_RATIO * history.chance_loss
    above_chance = max(losses) / history.chance_loss
    at_the_end = min(losses[-2:]) / history.chance_loss
    is_stuck = above_chance >= CHANCE_RATIO and at_the_end >= STUCK_RATIO
    last_epoch = history.epochs[-1].epoch
    if is_swinging or is_stuck:
        yield Finding(
            kind="learning-rate-too-high",
            severity=Severity.WARNING,
            evidence=(
                Evidence("loss_rise_share", swing, SWING_THRESHOLD, len(losses)),
                Evidence("largest_loss_by_chance", above_chance, CHANCE_RATIO, len(losses)),
                Evidence("last_loss_by_chance", at_the_end, STUCK_RATIO, 2),
            ),
            epochs=(2, last_epoch),
        )


LEARNING_RATE_TOO_HIGH = TrainingRule(
    kind="learning-rate-too-high",
    examine=find_high_learning_rate,
    source="Smith, Cyclical Learning Rates (arXiv:1506.01186), section 3.3",
)


def find_overfitting(history: TrainingHistory) -> Findings:
    """The test loss has risen above its minimum while the training loss went on falling."""
    pairs = [
        (epoch.epoch, epoch.train_loss, epoch.test_loss)
        for epoch in history.training_epochs
        if epoch.train_loss is not None and epoch.test_loss is not None
    ]
    if len(pairs) < MIN_EPOCHS:
        yield Unavailable("overfitting", "too-few-epochs")
        return
    best = min(range(len(pairs)), key=lambda i: pairs[i][2])
    # The mean of two epochs, so that one bad epoch is no rise.
    last = statistics.fmean(pair[2] for pair in pairs[-2:])
    train_now, train_then = pairs[-1][1], pairs[best][1]
    ratio = last / pairs[best][2] if pairs[best][2] > 0 else 1.0
    gap = last / train_now if train_now > 0 else math.inf
    if ratio >= OVERFIT_RATIO and train_now < train_then and gap >= OVERFIT_GAP:
        yield Finding(
            kind="overfitting",
            severity=Severity.WARNING,
            evidence=(
                Evidence("test_loss_ratio", ratio, OVERFIT_RATIO, len(pairs)),
                Evidence("loss_gap_ratio", min(gap, 1e6), OVERFIT_GAP, 1),
            ),
            epochs=(pairs[best][0], pairs[-1][0]),
        )


OVERFITTING = TrainingRule(
    kind="overfitting",
    examine=find_overfitting,
    source="Prechelt 1998, Early Stopping - But When?, generalization loss",
)

LOSS_RULES = (
    DIVERGING,
    EXPLODING_GRADIENTS,
    LEARNING_RATE_TOO_LOW,
    LEARNING_RATE_TOO_HIGH,
    OVERFITTING,
)
