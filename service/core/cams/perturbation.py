"""Methods that weight channels by how the score changes with or without them.

Score-CAM and its variants rescale a channel of A to 0..1, stretch it over the image, and blend the
image with the input's baseline by it: where the mask is 0, the baseline is left. On a baseline of 0
this multiplies the image by the mask, as in the papers. One set of passes serves all classes and
targets.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from pydantic import Field, PositiveInt
from torch import Tensor

from service.core.cams import passes
from service.core.cams.closed_form import ClosedHead
from service.core.cams.fusion import min_max_scaled
from service.core.cams.layer_pass import HeadPass, LayerPass, weighted_sum
from service.core.cams.method import Cost, Method, Samples
from service.core.cams.passes import image_generator
from service.core.cams.targets import Outputs, Target
from service.core.cancellation import raise_if_cancelled
from service.core.parameters import Parameters

# Scores of at most this absolute value divide by 1.
TINY = 1e-30

Variation = Callable[[Tensor], Tensor]
"""Masks (k, 1, h, w) to the masks that blend the image with the baseline."""


def score_cam(
    layer_pass: LayerPass, target: Target, _: Parameters, classes: Sequence[int]
) -> Tensor:
    """Maps (N, c, H, W).

    M_k is A^k rescaled by its own minimum and maximum, stretched bilinearly. The paper subtracts
    the score of a baseline, which is the same for all k and cancels in the softmax.
    """
    return _weighted_by_scores(layer_pass, target, classes, lambda _: [lambda masks: masks])


SCORE_CAM = Method(
    name="score-cam",
    title="Score-CAM",
    description="Weights each channel by the score of the image masked by that channel.",
    formula="sum_k w_k A^k, w = softmax_k(score(X M_k)), M_k = A^k stretched, 0..1",
    source="Wang et al., Score-CAM (arXiv:1910.01279)",
    year=2020,
    cost=Cost.PERTURBATIONS,
    compute=score_cam,
)


class NoisyMasks(Samples):
    """Parameters of SS-CAM."""

    noise: float = Field(
        2.0, gt=0, le=10, description="Standard deviation of the noise; masks are in 0..1."
    )


def ss_cam(
    layer_pass: LayerPass, target: Target, parameters: NoisyMasks, classes: Sequence[int]
) -> Tensor:
    """Maps (N, c, H, W), smoothed on the feature map: noise for every pixel of every mask."""

    def variations(image: Tensor) -> Iterable[Variation]:
        generator = image_generator(parameters.seed, image)

        def add_noise(masks: Tensor) -> Tensor:
            # Mask by mask, so that the numbers do not depend on the chunks.
            noise = torch.stack([torch.randn(mask.shape, generator=generator) for mask in masks])
            return masks + parameters.noise * noise.to(masks)

        return [add_noise] * parameters.samples

    return _weighted_by_scores(layer_pass, target, classes, variations)


SS_CAM = Method(
    name="ss-cam",
    title="SS-CAM",
    description="Score-CAM with scores averaged over noise on the masks.",
    formula="sum_k w_k A^k, w = softmax_k(mean_d score(X (M_k + d)))",
    source="Wang et al., SS-CAM (arXiv:2006.14255)",
    year=2020,
    cost=Cost.PERTURBATIONS,
    compute=ss_cam,
    parameters=NoisyMasks,
)


class Brightening(Parameters):
    """Parameters of IS-CAM."""

    samples: PositiveInt = Field(10, le=256, description="Points of the integral.")


def is_cam(
    layer_pass: LayerPass, target: Target, parameters: Brightening, classes: Sequence[int]
) -> Tensor:
    """Maps (N, c, H, W), with s_i = sum_(j=1..i) j / n as in torch-cam: s rises to (n + 1) / 2."""

    def scaled(factor: float) -> Variation:
        return lambda masks: factor * masks

    factors = accumulate(j / parameters.samples for j in range(1, parameters.samples + 1))
    variations = [scaled(factor) for factor in factors]
    return _weighted_by_scores(layer_pass, target, classes, lambda _: variations)


IS_CAM = Method(
    name="is-cam",
    title="IS-CAM",
    description="Score-CAM with scores averaged as the masked image grows brighter.",
    formula="sum_k w_k A^k, w = softmax_k(mean_i score(s_i X M_k))",
    source="Naidu et al., IS-CAM (arXiv:2010.03023)",
    year=2020,
    cost=Cost.PERTURBATIONS,
    compute=is_cam,
    parameters=Brightening,
)


def _weighted_by_scores(
    layer_pass: LayerPass,
    target: Target,
    classes: Sequence[int],
    variations: Callable[[Tensor], Iterable[Variation]],
) -> Tensor:
    """Maps (N, c, H, W) whose weights are scores, averaged over an image's variations."""
    rows = passes.rows_per_pass(layer_pass.network, layer_pass.images[:1])
    weights = []
    baselines = layer_pass.baseline
    all_masks = min_max_scaled(layer_pass.activations)
    for index, (image, masks) in enumerate(zip(layer_pass.images, all_masks, strict=True)):
        baseline = None if baselines is None else baselines[index]
        scores = torch.stack(
            [
                _masked_scores(layer_pass, target, image, baseline, masks, rows, variation)
                for variation in variations(image)
            ]
        )
        weights.append(scores.mean(0)[:, list(classes)].softmax(0).T)  # (c, K)
    return weighted_sum(torch.stack(weights), layer_pass.activations)


def _masked_scores(
    layer_pass: LayerPass,
    target: Target,
    image: Tensor,
    baseline: Tensor | None,
    masks: Tensor,
    rows: int,
    variation: Variation,
) -> Tensor:
    """Scores (K, C) of an image (D, h, w) under each of the masks (K, H, W).

    The baseline (D, h, w) takes the image's place where a mask is 0; None: 0.
    """
    scores = []
    for chunk in torch.split(masks.unsqueeze(1), rows):
        stretched = F.interpolate(chunk, image.shape[1:], mode="bilinear", align_corners=False)
        shares = variation(stretched)
        blended = shares * image if baseline is None else torch.lerp(baseline, image, shares)
        scores.append(passes.scores(layer_pass.network, target, blended))
    return torch.cat(scores)


def ablation_cam(
    layer_pass: LayerPass, target: Target, _: Parameters, classes: Sequence[int]
) -> Tensor:
    """Maps (N, c, H, W). A score y of 0 divides by 1.

    Deliberately unlike pytorch-grad-cam, which divides by y: that inverts the map where the score
    is negative, so that evidence against the class is bright. Where the smallest activation is not
    0 it also sets the channel to 1e7 below that, rather than to 0 as in the paper.
    """
    rows = list(classes)
    ablated = ablated_pre_activations(layer_pass)
    score = target.scores(layer_pass.outputs)[:, None, rows]
    outputs = Outputs(ablated.flatten(0, 1), layer_pass.head.output_activation)
    losses = score - target.scores(outputs).view_as(ablated)[..., rows]  # (N, K, c)
    size = score.abs()
    weights = losses / torch.where(size <= TINY, 1, size)
    return weighted_sum(weights.mT, layer_pass.activations)


ABLATION_CAM = Method(
    name="ablation-cam",
    title="Ablation-CAM",
    description="Weights each channel by what the score loses without it.",
    formula="sum_k w_k A^k, w_k = (y - y_k) / |y|, y_k the score without A^k",
    source="Desai and Ramaswamy, Ablation-CAM",
    year=2020,
    cost=Cost.PERTURBATIONS,
    compute=ablation_cam,
)


def ablated_pre_activations(head_pass: HeadPass) -> Tensor:
    """Pre-activations (N, K, C) of each image with each of its K channels set to 0."""
    head = ClosedHead.match(head_pass.head.stages)
    with torch.no_grad():
        if head is None:
            chunks = torch.cat(list(_ablated_by_passes(head_pass)))
            return chunks.view(*head_pass.activations.shape[:2], -1)
        return torch.cat(list(_ablated_by_differences(head, head_pass.activations)))


def _ablated_by_passes(head_pass: HeadPass) -> Iterator[Tensor]:
    """Copies of A without one channel through the head: (k, C), image after image."""
    split = head_pass.head.split
    row = head_pass.activations[:1]
    rows = passes.rows_within(split.count_head_values(row), row)
    for image, activations in enumerate(head_pass.activations):
        for channels in torch.split(torch.arange(len(activations)), rows):
            raise_if_cancelled()
            copies = activations.repeat(len(channels), 1, 1, 1)
            copies[torch.arange(len(channels)), channels] = 0
            images = torch.full_like(channels, image)
            yield head_pass.with_activations(copies, images).pre_activations


def _ablated_by_differences(head: ClosedHead, activations: Tensor) -> Iterator[Tensor]:
    """The same for a linear layer behind a pooling, (n, K, C).

    Pooling acts on each channel by itself and maps 0 to 0, so that without channel k the layer
    gives z_k = z - W1_k P_k.
    """
    linear = head.output if head.hidden_layer is None else head.hidden_layer[0]
    channels = activations.shape[1]
    by_channel = linear.weight.view(linear.out_features, channels, -1).permute(1, 2, 0).contiguous()
    image_bytes = 2 * channels * linear.out_features * activations.element_size()
    for images in torch.split(activations, max(1, passes.PASS_BYTES // image_bytes)):
        pooled = images if head.pooling is None else head.pooling(images)
        shares = pooled.flatten(2).transpose(0, 1) @ by_channel  # (K, n, J)
        signal = linear(pooled.flatten(1)).unsqueeze(1) - shares.transpose(0, 1)
        if head.hidden_layer is not None:
            signal = head.output(head.hidden_layer[1](signal))
        yield signal


PERTURBATION_METHODS = (SCORE_CAM, SS_CAM, IS_CAM, ABLATION_CAM)
