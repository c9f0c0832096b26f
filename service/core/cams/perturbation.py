"""Methods that weigh channels by what the network says when the image shows but them.

A channel of A, rescaled to 0..1 and stretched over the image, is laid on it as a mask. One set of
passes serves all classes and targets.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from pydantic import Field, PositiveInt
from torch import Tensor

from service.core.cams.cut import Cut
from service.core.cams.method import Samples
from service.core.cams.noise import generator
from service.core.cams.passes import rows_at_once, scores
from service.core.cams.targets import Target
from service.core.cams.unit_range import unit_range
from service.core.cams.weighted import weighted_sum
from service.core.parameters import Parameters

Variation = Callable[[Tensor], Tensor]
"""What is done with masks (k, 1, h, w) before they are laid on the image."""


class NoisyMasks(Samples):
    """Of SS-CAM."""

    noise: float = Field(2.0, gt=0, le=10, description="Standard deviation; masks are in 0..1.")


class Brightening(Parameters):
    """Of IS-CAM."""

    samples: PositiveInt = Field(10, le=256, description="Points of the integral.")


def score_cam(cut: Cut, target: Target, _: Parameters, classes: Sequence[int]) -> Tensor:
    """sum_k w_k A^k (N, c, H, W), w = softmax_k(score(X M_k)).

    Wang et al. 2020 (arXiv:1910.01279), its channel-wise increase of confidence. M_k is A^k by its
    own minimum and maximum, stretched bilinearly. The baseline's score, which the paper takes off,
    is the same for all k, so softmax loses it.
    """
    return _weighed_by_scores(cut, target, classes, lambda _: [lambda masks: masks])


def ss_cam(cut: Cut, target: Target, parameters: NoisyMasks, classes: Sequence[int]) -> Tensor:
    """score_cam with w = softmax_k of the mean of score(X (M_k + d)) over noise d.

    Wang et al. 2020, SS-CAM (arXiv:2006.14255), smoothed on the feature map. Every pixel of every
    mask has a noise of its own.
    """

    def variations(image: Tensor) -> Iterable[Variation]:
        numbers = generator(parameters.seed, image)

        def noisy(masks: Tensor) -> Tensor:
            # One by one, so that the numbers do not depend on how masks are chunked.
            drawn = torch.stack([torch.randn(some.shape, generator=numbers) for some in masks])
            return masks + parameters.noise * drawn.to(masks)

        return [noisy] * parameters.samples

    return _weighed_by_scores(cut, target, classes, variations)


def is_cam(cut: Cut, target: Target, parameters: Brightening, classes: Sequence[int]) -> Tensor:
    """score_cam with w = softmax_k of the mean over i = 1..n of score(s_i X M_k).

    Naidu et al. 2020, IS-CAM (arXiv:2010.03023), with s_i = sum_(j=1..i) j / n as torch-cam has it.
    So s rises beyond 1, to (n + 1) / 2.
    """

    def scaled(by: float) -> Variation:
        return lambda masks: by * masks

    shares = accumulate(j / parameters.samples for j in range(1, parameters.samples + 1))
    variations = [scaled(share) for share in shares]
    return _weighed_by_scores(cut, target, classes, lambda _: variations)


def _weighed_by_scores(
    cut: Cut,
    target: Target,
    classes: Sequence[int],
    variations: Callable[[Tensor], Iterable[Variation]],
) -> Tensor:
    """The maps (N, c, H, W) whose weights are scores, averaged over an image's variations."""
    rows = rows_at_once(cut.network, cut.images[:1])
    weights = []
    for image, masks in zip(cut.images, unit_range(cut.activations), strict=True):
        found = torch.stack(
            [_masked_scores(cut, target, image, masks, rows, vary) for vary in variations(image)]
        )
        weights.append(found.mean(0)[:, list(classes)].softmax(0).T)  # (c, K)
    return weighted_sum(torch.stack(weights), cut.activations)


def _masked_scores(
    cut: Cut, target: Target, image: Tensor, masks: Tensor, rows: int, vary: Variation
) -> Tensor:
    """Scores (K, C) of an image (D, h, w) under each of the masks (K, H, W)."""
    found = []
    for some in torch.split(masks.unsqueeze(1), rows):
        stretched = F.interpolate(some, image.shape[1:], mode="bilinear", align_corners=False)
        found.append(scores(cut.network, target, vary(stretched) * image))
    return torch.cat(found)
