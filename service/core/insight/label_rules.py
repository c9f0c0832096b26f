"""Rules about images and labels: missing classes, wrong labels, duplicates, order, confusion."""

from itertools import pairwise

from service.core.insight.finding import Evidence, Finding, Severity, Unavailable
from service.core.insight.training_history import Findings, TrainingHistory, TrainingRule

MIN_EPOCHS = 4

DOUBTFUL_SHARE_THRESHOLD = 0.01
"""Share of the images, presented at least three times, whose mean probability of the given label
is at most 0.1. A network trained for long has fewer without any wrong label."""

DOUBT_RATIO_THRESHOLD = 0.09
"""That share by 1 - the median of the mean probabilities: a network that has learned less doubts
more images without an error among them. On the tuning seeds, at most 0.07 without wrong labels and
0.12 with 3 %."""

MIN_MEDIAN_CONFIDENCE = 0.5
"""Median of those mean probabilities, below which the network has learned too little to doubt
labels."""

DUPLICATE_THRESHOLD = 0.001
"""Share of the test images that are among the training images; MNIST has none."""

REPEAT_EXCESS_THRESHOLD = 0.3
"""Share of neighbors of one class in the order of training, beyond that of shuffled labels: the
sum of the squared class shares. Shuffled epochs of the tuning seeds had an excess below
0.01."""

FORGOTTEN_DROP = 0.4
"""Fall of a class's test accuracy from one epoch to the next that counts as forgetting it."""

FORGOTTEN_TIMES = 2

CONFUSED_SHARE_THRESHOLD = 0.3
"""Share of the test images of two classes that are taken for the other one. Their mean error at the
epoch before must be as large, so that one swing of the loss confuses nobody."""

CONFUSED_DOMINANCE = 0.5
"""Share of all mistakes of the two classes that are between them."""

MIN_ACCURACY = 0.5
"""Test accuracy below which nothing is said about single classes: the network has not learned."""

DROPOUT_GAP_THRESHOLD = 0.1
"""Test accuracy minus training accuracy at the end."""

LISTED_IMAGES = 20


def find_missing_classes(history: TrainingHistory) -> Findings:
    """Classes with test images and without training images."""
    if history.facts is None:
        yield Unavailable("class-missing", "not-recorded")
        return
    sizes = zip(history.facts.train_class_sizes, history.facts.test_class_sizes, strict=True)
    for index, (train_size, test_size) in enumerate(sizes):
        if train_size == 0:
            yield Finding(
                kind="class-missing",
                severity=Severity.WARNING,
                evidence=(Evidence("training_images", 0, 1, test_size),),
                class_indices=(index,),
            )


CLASS_MISSING = TrainingRule(
    kind="class-missing",
    examine=find_missing_classes,
    source="the class sizes of the training split",
)


def find_label_errors(history: TrainingHistory) -> Findings:
    """Training images whose given label keeps a small probability: list the hardest."""
    counts = [
        history.last_value(name)
        for name in ("presented_images", "doubtful_images", "median_confidence")
    ]
    if any(pair is None for pair in counts):
        yield Unavailable("label-errors", "not-recorded")
        return
    presented, doubtful, confidence = (pair[1] for pair in counts if pair is not None)
    if confidence < MIN_MEDIAN_CONFIDENCE or presented < 100:
        yield Unavailable("label-errors", "not-learned")
        return
    share = doubtful / presented
    ratio = share / max(1 - confidence, 1e-3)
    if share >= DOUBTFUL_SHARE_THRESHOLD and ratio >= DOUBT_RATIO_THRESHOLD:
        suspects = [image for image in history.hardest if image.mean_probability <= 0.1]
        yield Finding(
            kind="label-errors",
            severity=Severity.WARNING,
            evidence=(
                Evidence("doubtful_share", share, DOUBTFUL_SHARE_THRESHOLD, int(presented)),
                Evidence("doubt_ratio", ratio, DOUBT_RATIO_THRESHOLD, int(presented)),
                Evidence("median_confidence", confidence, MIN_MEDIAN_CONFIDENCE, int(presented)),
            ),
            images=tuple(f"train:{image.index}" for image in suspects[:LISTED_IMAGES]),
        )


LABEL_ERRORS = TrainingRule(
    kind="label-errors",
    examine=find_label_errors,
    source="1 - mean p of the given label: Swayamdipta et al., Dataset Cartography "
    "(arXiv:2009.10795), section 5; AUC 0.997 on 2 % flipped labels of MNIST",
)


def find_duplicates(history: TrainingHistory) -> Findings:
    """Test images with the pixels of a training image."""
    facts = history.facts
    if facts is None or facts.duplicates is None:
        reason = "not-recorded" if facts is None else "too-many-images"
        yield Unavailable("test-images-in-training", reason)
    elif facts.test_size and facts.duplicates / facts.test_size >= DUPLICATE_THRESHOLD:
        yield Finding(
            kind="test-images-in-training",
            severity=Severity.WARNING,
            evidence=(
                Evidence(
                    "duplicate_share",
                    facts.duplicates / facts.test_size,
                    DUPLICATE_THRESHOLD,
                    facts.test_size,
                ),
            ),
            images=facts.duplicate_references[:LISTED_IMAGES],
        )


DUPLICATES = TrainingRule(
    kind="test-images-in-training",
    examine=find_duplicates,
    source="Barz and Denzler, Do We Train on Test Data? (arXiv:1902.00423)",
)


def find_sorted_batches(history: TrainingHistory) -> Findings:
    """Neighbors in the order of training have one class more often than shuffled ones."""
    repeats = [
        (epoch.epoch, value)
        for epoch in history.training_epochs
        if (value := epoch.values.get("label_repeat_share")) is not None
    ]
    if not repeats:
        yield Unavailable("batches-sorted", "not-recorded")
        return
    sizes = (1,) * history.class_count if history.facts is None else history.facts.train_class_sizes
    expected: float = sum((size / sum(sizes)) ** 2 for size in sizes)
    epochs = [epoch for epoch, value in repeats if value - expected >= REPEAT_EXCESS_THRESHOLD]
    if epochs:
        largest = max(value for _, value in repeats)
        yield Finding(
            kind="batches-sorted",
            severity=Severity.WARNING,
            evidence=(
                Evidence(
                    "label_repeat_share", largest, expected + REPEAT_EXCESS_THRESHOLD, len(repeats)
                ),
            ),
            epochs=(epochs[0], epochs[-1]),
        )


BATCHES_SORTED = TrainingRule(
    kind="batches-sorted",
    examine=find_sorted_batches,
    source="Bengio 2012, Practical Recommendations (arXiv:1206.5533), section 3.1.1: order of "
    "examples",
)


def find_forgotten_classes(history: TrainingHistory) -> Findings:
    """Classes whose test accuracy falls by FORGOTTEN_DROP at least FORGOTTEN_TIMES."""
    courses = [e.per_class_accuracy for e in history.training_epochs if e.per_class_accuracy]
    if len(courses) < MIN_EPOCHS:
        yield Unavailable("class-forgotten", "too-few-epochs")
        return
    for index in range(history.class_count):
        course = [accuracies[index] for accuracies in courses]
        falls = [a - b for a, b in pairwise(course) if a - b >= FORGOTTEN_DROP]
        if len(falls) >= FORGOTTEN_TIMES:
            yield Finding(
                kind="class-forgotten",
                severity=Severity.WARNING,
                evidence=(
                    Evidence("times_forgotten", len(falls), FORGOTTEN_TIMES, len(course)),
                    Evidence("largest_fall", max(falls), FORGOTTEN_DROP, len(course)),
                ),
                class_indices=(index,),
                epochs=(1, history.epochs[-1].epoch),
            )


CLASS_FORGOTTEN = TrainingRule(
    kind="class-forgotten",
    examine=find_forgotten_classes,
    source="Toneva et al., An Empirical Study of Example Forgetting (arXiv:1812.05159), by class",
)


def find_confused_classes(history: TrainingHistory) -> Findings:
    """Two classes that are taken for each other, and seldom for a third one."""
    last = history.epochs[-1] if history.epochs else None
    if history.mistakes is None or history.facts is None or last is None:
        yield Unavailable("classes-confused", "not-recorded")
        return
    if (last.test_accuracy or 0) < MIN_ACCURACY:
        yield Unavailable("classes-confused", "not-learned")
        return
    matrix = history.mistakes.confusion(history.facts.test_class_sizes)
    sizes, hits = matrix.sum(axis=1), matrix.diagonal()
    for a in range(history.class_count):
        for b in range(a + 1, history.class_count):
            between = int(matrix[a, b] + matrix[b, a])
            images, mistakes = (
                int(sizes[a] + sizes[b]),
                int(sizes[a] + sizes[b] - hits[a] - hits[b]),
            )
            is_trained = 0 not in (
                history.facts.train_class_sizes[a],
                history.facts.train_class_sizes[b],
            )
            if not is_trained or not images or not mistakes:
                continue
            share, dominance = between / images, between / mistakes
            is_lasting = _pair_error(history, a, b) >= CONFUSED_SHARE_THRESHOLD
            if is_lasting and share >= CONFUSED_SHARE_THRESHOLD and dominance >= CONFUSED_DOMINANCE:
                references = history.mistakes.cell(a, b) + history.mistakes.cell(b, a)
                yield Finding(
                    kind="classes-confused",
                    severity=Severity.WARNING,
                    evidence=(
                        Evidence("confused_share", share, CONFUSED_SHARE_THRESHOLD, images),
                        Evidence("share_of_mistakes", dominance, CONFUSED_DOMINANCE, mistakes),
                    ),
                    class_indices=(a, b),
                    epochs=(last.epoch, last.epoch),
                    images=tuple(f"test:{i}" for i in references[:LISTED_IMAGES]),
                )


def _pair_error(history: TrainingHistory, a: int, b: int) -> float:
    """Mean error of two classes at the epoch before the last; 1 if there is none."""
    if len(history.training_epochs) < 2:
        return 1.0
    accuracies = history.training_epochs[-2].per_class_accuracy
    return 1 - (accuracies[a] + accuracies[b]) / 2 if accuracies else 1.0


CLASSES_CONFUSED = TrainingRule(
    kind="classes-confused",
    examine=find_confused_classes,
    source="the confusion matrix of the test split",
)


def find_dropout_gap(history: TrainingHistory) -> Findings:
    """The training accuracy, measured with dropout, is below the test accuracy."""
    epochs = history.training_epochs
    if not epochs or history.dropout == 0:
        return
    last = epochs[-1]
    if last.train_accuracy is None or last.test_accuracy is None:
        return
    gap = last.test_accuracy - last.train_accuracy
    if gap >= DROPOUT_GAP_THRESHOLD and last.test_accuracy >= MIN_ACCURACY:
        yield Finding(
            kind="accuracy-with-dropout",
            severity=Severity.NOTE,
            evidence=(
                Evidence("accuracy_gap", gap, DROPOUT_GAP_THRESHOLD, len(epochs)),
                Evidence("dropout", history.dropout, None, len(epochs)),
            ),
            epochs=(last.epoch, last.epoch),
        )


ACCURACY_WITH_DROPOUT = TrainingRule(
    kind="accuracy-with-dropout",
    examine=find_dropout_gap,
    source="Srivastava et al. 2014, Dropout, section 4: units are dropped in training alone",
)

LABEL_RULES = (
    CLASS_MISSING,
    LABEL_ERRORS,
    DUPLICATES,
    BATCHES_SORTED,
    CLASS_FORGOTTEN,
    CLASSES_CONFUSED,
    ACCURACY_WITH_DROPOUT,
)
