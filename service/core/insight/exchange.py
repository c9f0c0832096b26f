"""The exchange test: what share of the evidence for a class a property of the image carries.

An operator T gives an image x of class a one property of a donor y of class d, and keeps the object
of x. With u_c, the pre-activation of class c minus the mean over the classes,

    g(a, c) = mean u_c(T(x_a; y_c)) - median over d != c of the mean u_c(T(x_a; y_d))
    S(c)    = median over a != c of g(a, c) / (mean u_c over class c - mean u_c over class a)

A property of the surroundings that carries a noticeable share is a shortcut. Both medians matter: a
pair of classes may be naturally close, all pairs may not; and a property that one class has speaks
against all others, which must not make its absence a shortcut of theirs.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import torch
from torch import Tensor

from service.core.input import InputSpec
from service.core.insight.objects import ObjectImages, find_objects
from service.core.insight.operators import OPERATORS, Donors, ExchangeOperator
from service.core.models.network import Network
from service.core.preprocessing import level_bounds

PixelNetwork = Callable[[Tensor], Tensor]
"""Pre-activations (N, C) of images float32 (N, D, H, W), 0..1, in evaluation mode."""

RECIPIENTS_PER_CLASS = 10
"""Images of each class that receive the properties of each class."""

MIN_RECIPIENTS_PER_CLASS = 3
POOL_PER_CLASS = 30
"""Images of each class from which recipients and donors are drawn."""

FILLERS = 3
MAX_HYBRIDS = 10_000
"""Exchanged images per operator, at most: fewer per pair of classes where there are many."""

FEW_PER_CLASS = 5
"""Images of each class that are looked at first: most datasets have objects, or none."""

FORWARD_BATCH = 100
SLOW_SECONDS = 0.005
"""Time of an image from which on few images are enough to measure it."""

MIN_SEPARATION = 0.5
"""A pair of classes counts whose means of u_c differ by more than this many standard deviations."""

MAX_IMPLAUSIBLE_SHARE = 0.2
"""Share of images without a plausible object from which on nothing is tested."""


class ExchangeGap(StrEnum):
    """Why the exchange test has no result."""

    NO_PLAUSIBLE_OBJECT = "no-plausible-object"
    TOO_FEW_IMAGES = "too-few-images"
    CLASSES_NOT_SEPARATED = "classes-not-separated"
    OVER_BUDGET = "over-budget"
    NOT_FINITE = "not-finite"


class ExchangeUnavailable(Exception):
    """The exchange test has no result, for the reason `gap`."""

    def __init__(self, gap: ExchangeGap) -> None:
        super().__init__(gap.value)
        self.gap = gap


@dataclass(frozen=True)
class OperatorResult:
    """What the exchange of one property does, by class; None where it could not be measured."""

    operator: str
    shares: tuple[float | None, ...]  # S(c)
    recall_lost: tuple[float | None, ...]  # of class c, with the property of other classes
    images_turned: tuple[float | None, ...]  # share of other images turned into class c
    images: int  # exchanged images per class


@dataclass(frozen=True)
class ExchangeSample:
    """Images of the tested classes: a pool of each, and those that receive properties."""

    classes: tuple[int, ...]  # class indices, in the order of `pool_rows`
    objects: ObjectImages
    pool_rows: tuple[Tensor, ...]  # rows of `objects`, by tested class
    recipient_rows: Tensor  # int64 (M,)
    recipient_classes: Tensor  # int64 (M,), positions in `classes`
    excluded_classes: tuple[int, ...]  # without enough images with a plausible object
    seed: int

    @property
    def recipients(self) -> ObjectImages:
        """The images that receive properties."""
        return self.objects.select(self.recipient_rows)


def pixel_network(network: Network, input_spec: InputSpec | None) -> PixelNetwork:
    """The network as a function of levels 0..1 on the CPU, whatever its device and input."""

    def evaluate(images: Tensor) -> Tensor:
        black, white = level_bounds(images, input_spec)
        return network((black + images * (white - black)).to(network.device)).cpu()

    return evaluate


def draw_sample(
    images: Tensor,
    labels: Tensor,
    class_count: int,
    *,
    masks: Tensor | None = None,
    seed: int = 0,
    recipients_per_class: int = RECIPIENTS_PER_CLASS,
) -> ExchangeSample:
    """Recipients and donors among labeled images float32 (N, D, H, W), 0..1, labels int64 (N,).

    `masks` bool (N, 1, H, W) are the dataset's masks of objects. A class with too few plausible
    objects is left out. Raises ExchangeUnavailable if too many images have none.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    pools = [order[labels[order] == c][:POOL_PER_CLASS] for c in range(class_count)]
    pool_indices, first_indices = (
        torch.cat(pools),
        torch.cat([pool[:FEW_PER_CLASS] for pool in pools]),
    )
    if len(pool_indices) < 2 * MIN_RECIPIENTS_PER_CLASS:
        raise ExchangeUnavailable(ExchangeGap.TOO_FEW_IMAGES)
    if masks is None and find_objects(images[first_indices]).is_plausible.float().mean() < 0.5:
        raise ExchangeUnavailable(ExchangeGap.NO_PLAUSIBLE_OBJECT)
    objects = find_objects(images[pool_indices], None if masks is None else masks[pool_indices])
    starts = [0, *torch.tensor([len(pool) for pool in pools]).cumsum(0).tolist()]
    rows = [
        start + objects.is_plausible[start:end].nonzero().flatten()
        for start, end in pairwise(starts)
    ]
    tested = [c for c in range(class_count) if len(rows[c]) >= MIN_RECIPIENTS_PER_CLASS]
    implausible = 1 - objects.is_plausible.float().mean().item()
    if implausible > MAX_IMPLAUSIBLE_SHARE:
        raise ExchangeUnavailable(ExchangeGap.NO_PLAUSIBLE_OBJECT)
    if len(tested) < 2:
        raise ExchangeUnavailable(ExchangeGap.TOO_FEW_IMAGES)
    receiving = _receiving_classes(len(tested), generator)
    per_class = min(recipients_per_class, max(1, MAX_HYBRIDS // (len(tested) * len(receiving))))
    receiver_rows = [rows[tested[position]][:per_class] for position in receiving]
    return ExchangeSample(
        classes=tuple(tested),
        objects=objects,
        pool_rows=tuple(rows[c] for c in tested),
        recipient_rows=torch.cat(receiver_rows),
        recipient_classes=torch.cat(
            [torch.full((len(r),), p) for p, r in zip(receiving, receiver_rows, strict=True)]
        ),
        excluded_classes=tuple(sorted(set(range(class_count)) - set(tested))),
        seed=seed,
    )


def _receiving_classes(class_count: int, generator: torch.Generator) -> list[int]:
    """All classes, or as many as the number of exchanged images allows."""
    count = min(class_count, max(2, MAX_HYBRIDS // (class_count * MIN_RECIPIENTS_PER_CLASS)))
    if count == class_count:
        return list(range(class_count))
    return sorted(torch.randperm(class_count, generator=generator)[:count].tolist())


def measure_exchanges(
    network: PixelNetwork,
    sample: ExchangeSample,
    class_count: int,
    operators: list[str],
    deadline: float | None = None,
) -> list[OperatorResult]:
    """The result of each operator, without those that would start after `deadline`.

    The deadline is one of `time.perf_counter`. Raises ExchangeUnavailable.
    """
    scores = evidence(run_in_batches(network, sample.objects.images))
    if not scores.isfinite().all():
        raise ExchangeUnavailable(ExchangeGap.NOT_FINITE)
    separations = _separations(scores, sample)
    if separations.isnan().all():
        raise ExchangeUnavailable(ExchangeGap.CLASSES_NOT_SEPARATED)
    results: list[OperatorResult] = []
    for name in operators:
        if deadline is not None and time.perf_counter() > deadline:
            break
        exchanged = torch.stack(
            [
                run_in_batches(network, exchange_property(OPERATORS[name], sample, position))
                for position in range(len(sample.classes))
            ]
        )
        results.append(_result(name, exchanged, separations, sample, class_count))
    if not results:
        raise ExchangeUnavailable(ExchangeGap.OVER_BUDGET)
    return results


def applicable_operators(image_shape: tuple[int, ...]) -> list[str]:
    """Names of the operators for images (..., D, H, W)."""
    is_color = image_shape[-3] == 3
    return [name for name, operator in OPERATORS.items() if is_color or not operator.is_color]


def exchange_property(
    operator: ExchangeOperator, sample: ExchangeSample, position: int, seed: int = 0
) -> Tensor:
    """The recipients with the property of donors of a tested class, (M, D, H, W).

    The donors depend on the sample's seed, the class and `seed` alone, not on the operator.
    """
    generator = torch.Generator().manual_seed(sample.seed * 1_000_003 + 1009 * seed + position)
    rows, count = sample.pool_rows[position], len(sample.recipient_rows)
    # Each donor is used once before any is used again.
    rounds = -(-count // len(rows)) + 1
    pool_indices = torch.cat(
        [rows[torch.randperm(len(rows), generator=generator)] for _ in range(rounds)]
    )
    donors = Donors(
        sample.objects.select(pool_indices[:count]),
        tuple(
            sample.objects.select(pool_indices[:count].roll(step)) for step in range(1, FILLERS + 1)
        ),
    )
    return operator.exchange(sample.recipients, donors)


def run_in_batches(network: PixelNetwork, images: Tensor) -> Tensor:
    """Pre-activations (N, C) of images (N, D, H, W), without gradients."""
    with torch.inference_mode():
        return torch.cat([network(batch) for batch in torch.split(images, FORWARD_BATCH)]).float()


def evidence(pre_activations: Tensor) -> Tensor:
    """u: each pre-activation (..., C) minus the mean over the classes."""
    return pre_activations - pre_activations.mean(dim=-1, keepdim=True)


def seconds_per_image(network: PixelNetwork, images: Tensor) -> float:
    """Time of one image of a batch: of few images, and of more where they are fast."""
    run_in_batches(network, images[:1])
    seconds = 0.0
    for count in (10, FORWARD_BATCH):
        batch = images[:count]
        start = time.perf_counter()
        run_in_batches(network, batch)
        seconds = (time.perf_counter() - start) / len(batch)
        if seconds > SLOW_SECONDS:
            break
    return seconds


def _separations(scores: Tensor, sample: ExchangeSample) -> Tensor:
    """mean u_c over class c - mean u_c over class a, (A, K); NaN for pairs that do not count.

    K are the tested classes, A the same.
    """
    columns = list(sample.classes)
    by_class = [scores[rows][:, columns] for rows in sample.pool_rows]
    means = torch.stack([values.mean(dim=0) for values in by_class])
    spread = torch.stack([values.var(dim=0, unbiased=False) for values in by_class]).mean(0).sqrt()
    separations = means.diagonal()[None, :] - means
    counts = separations > MIN_SEPARATION * spread
    # A network whose outputs do not depend on the image separates nothing.
    counts &= separations > 1e-6
    return torch.where(counts, separations, torch.nan)


def _result(
    name: str, exchanged: Tensor, separations: Tensor, sample: ExchangeSample, class_count: int
) -> OperatorResult:
    """The result of an operator from pre-activations (K donor classes, M recipients, C)."""
    columns = list(sample.classes)
    tested_count = len(columns)
    scores = evidence(exchanged)[:, :, columns]
    predictions = exchanged.argmax(dim=2)
    shares: list[float | None] = [None] * class_count
    recall_lost: list[float | None] = [None] * class_count
    images_turned: list[float | None] = [None] * class_count
    for position, class_index in enumerate(columns):
        class_evidence = scores[:, :, position]  # (K, M)
        other_positions = [p for p in range(tested_count) if p != position]
        is_class = predictions == class_index  # (K, M)
        effect = is_class[position].float() - is_class[other_positions].float().mean(dim=0)  # (M,)
        is_own = sample.recipient_classes == position
        ratios = [
            (_gain(class_evidence[:, rows].mean(dim=1), position) / separations[a, position]).item()
            for a in torch.unique(sample.recipient_classes).tolist()
            if a != position and (rows := sample.recipient_classes == a).any()
        ]
        finite = torch.tensor([ratio for ratio in ratios if ratio == ratio])
        if 2 * len(finite) >= max(1, len(ratios)):
            shares[class_index] = finite.quantile(0.5).item()
        recall_lost[class_index] = effect[is_own].mean().item() if is_own.any() else None
        images_turned[class_index] = effect[~is_own].mean().item()
    return OperatorResult(
        name, tuple(shares), tuple(recall_lost), tuple(images_turned), len(sample.recipient_rows)
    )


def _gain(means: Tensor, position: int) -> Tensor:
    """g(a, c) from the mean u_c by donor class (K,): that of class c minus the others' median."""
    other_means = torch.cat([means[:position], means[position + 1 :]])
    return means[position] - other_means.quantile(0.5)
