"""Attributions to pixels by captum, which is imported on first use: the import takes seconds.

Captum draws random numbers from torch's global generator, which training in this process and other
threads draw from, too. So random numbers are drawn here, from each image's own generator, and
passed to captum; threads share nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from pydantic import Field, NonNegativeInt, PositiveInt, ValidationInfo, field_validator
from torch import Tensor

from service.core.cams import passes
from service.core.cams.layer_pass import LayerPass
from service.core.cams.method import AttributionLevel, Cost, Method, Seeded
from service.core.cams.passes import image_generator, normal_noise
from service.core.cams.targets import Target
from service.core.parameters import Parameters


class NoisyPixels(Parameters):
    """Parameters of SmoothGrad."""

    samples: PositiveInt = Field(16, le=512, description="Noisy images averaged.")
    noise: float = Field(0.15, gt=0, le=2, description="Standard deviation; pixels are in 0..1.")
    seed: NonNegativeInt = Field(0, le=2**32 - 1, description="Seed of the random numbers.")


def smooth_grad(
    layer_pass: LayerPass, target: Target, parameters: NoisyPixels, classes: Sequence[int]
) -> Tensor:
    """Maps (N, c, h, w), summed over color channels. Section 3 of the paper.

    Captum's Saliency, with the result of its NoiseTunnel for the same noise, which is each image's
    own and the same for all classes.
    """
    from captum.attr import Saliency

    images = layer_pass.images
    rows = passes.rows_per_pass(layer_pass.network, images[:1])
    noise = normal_noise(images, parameters.samples, tuple(images.shape[1:]), parameters.seed)
    noisy = images + parameters.noise * noise  # (samples, N, D, h, w)

    def mean_gradient(class_index: int) -> Tensor:
        saliency = Saliency(_score_function(layer_pass, target, class_index))
        # Captum warns of leaves that do not require a gradient.
        leaves = [
            chunk.detach().requires_grad_() for chunk in torch.split(noisy.flatten(0, 1), rows)
        ]
        gradients = torch.cat([saliency.attribute(leaf, abs=False) for leaf in leaves])
        return gradients.view_as(noisy).mean(0).sum(1)

    return torch.stack([mean_gradient(class_index) for class_index in classes], dim=1)


SMOOTH_GRAD = Method(
    name="smooth-grad",
    title="SmoothGrad",
    description="The gradient by the pixels, averaged over noisy copies of the image.",
    formula="mean_d G(X + d)",
    source="Smilkov et al., SmoothGrad (arXiv:1706.03825)",
    year=2017,
    cost=Cost.SAMPLES,
    compute=smooth_grad,
    parameters=NoisyPixels,
    attribution_level=AttributionLevel.INPUT,
)


class Path(Parameters):
    """Parameters of integrated gradients."""

    steps: PositiveInt = Field(16, le=256, description="Points of the Gauss-Legendre rule.")


def integrated_gradients(
    layer_pass: LayerPass, target: Target, parameters: Path, classes: Sequence[int]
) -> Tensor:
    """Maps (N, c, h, w), summed over color channels, by captum's Gauss-Legendre rule.

    A map sums over pixels to score(X) - score(baseline), up to the error of the rule.
    """
    from captum.attr import IntegratedGradients

    rows = passes.rows_per_pass(layer_pass.network, layer_pass.images[:1])
    steps = parameters.steps
    chunks = _with_baselines(layer_pass, max(1, rows // steps))

    def attribute(class_index: int) -> Tensor:
        integrated = IntegratedGradients(_score_function(layer_pass, target, class_index))
        attributions = [
            integrated.attribute(
                chunk,
                baselines=baseline,
                n_steps=steps,
                internal_batch_size=rows if rows < steps else None,
            )
            for chunk, baseline in chunks
        ]
        return torch.cat(attributions).sum(1)

    return torch.stack([attribute(class_index) for class_index in classes], dim=1)


INTEGRATED_GRADIENTS = Method(
    name="integrated-gradients",
    title="Integrated gradients",
    description="Pixels times their gradient along the path from the baseline to the image; sums "
    "to what the image adds to the score of the baseline.",
    formula="(X - B) int_0^1 G(B + a (X - B)) da",
    source="Sundararajan et al., Axiomatic Attribution for Deep Networks (arXiv:1703.01365), "
    "eq. 1 and 3",
    year=2017,
    cost=Cost.SAMPLES,
    compute=integrated_gradients,
    parameters=Path,
    attribution_level=AttributionLevel.INPUT,
)


class Window(Parameters):
    """Parameters of occlusion."""

    window: PositiveInt = Field(5, le=128, description="Side of the square, in pixels.")
    stride: PositiveInt = Field(
        2, le=128, validate_default=True, description="Pixels between squares; at most the window."
    )

    @field_validator("stride")
    @classmethod
    def _check_coverage(cls, stride: int, info: ValidationInfo) -> int:
        if stride > info.data.get("window", stride):
            raise ValueError("must not be greater than the window, or pixels would be left out")
        return stride


def occlusion(
    layer_pass: LayerPass, target: Target, parameters: Window, classes: Sequence[int]
) -> Tensor:
    """Maps (N, c, h, w), by captum's Occlusion.

    A square hides all color channels at once, so its loss counts once. It is cut to the size of a
    smaller image.
    """
    from captum.attr import Occlusion

    rows_of_classes = list(classes)
    network, images = layer_pass.network, layer_pass.images
    depth, height, width = images.shape[1:]
    sides = (min(parameters.window, height), min(parameters.window, width))
    strides = tuple(min(parameters.stride, side) for side in sides)
    attribution = Occlusion(
        lambda occluded: passes.scores(network, target, occluded)[:, rows_of_classes]
    )
    rows = passes.rows_per_pass(network, images[:1])
    # Captum holds the losses of all classes for each square, spread over the image.
    losses_bytes = images[:1].numel() * images.element_size() * len(rows_of_classes)
    rows = max(1, min(rows, passes.PASS_BYTES // losses_bytes))
    maps = [
        attribution.attribute(
            chunk,
            baselines=baseline,
            sliding_window_shapes=(depth, *sides),
            strides=(depth, *strides),
            perturbations_per_eval=max(1, rows // len(chunk)),
        ).view(len(chunk), len(rows_of_classes), depth, height, width)
        for chunk, baseline in _with_baselines(layer_pass, rows)
    ]
    return torch.cat(maps)[:, :, 0]  # the same for each color channel


OCCLUSION = Method(
    name="occlusion",
    title="Occlusion",
    description="What the score loses while a square of the baseline hides a pixel.",
    formula="mean over squares S with the pixel: score(X) - score(X without S)",
    source="Zeiler and Fergus, Visualizing and Understanding Convolutional Networks "
    "(arXiv:1311.2901), 4.2",
    year=2014,
    cost=Cost.PERTURBATIONS,
    compute=occlusion,
    parameters=Window,
    attribution_level=AttributionLevel.INPUT,
)


class Patches(Seeded):
    """Parameters of LIME."""

    samples: PositiveInt = Field(200, le=5000, description="Images with hidden patches.")
    patch: PositiveInt = Field(4, le=128, description="Side of the square patches, in pixels.")


def lime(
    layer_pass: LayerPass, target: Target, parameters: Patches, classes: Sequence[int]
) -> Tensor:
    """Maps (N, c, h, w), by captum's Lime; every pixel has the coefficient of its patch.

    Samples hide each patch with probability 1/2 and weigh exp(-d^2 / 2), d being their cosine
    distance to the image; the model is ridge regression, as in the authors' package.
    """
    from captum.attr import Lime

    rows_of_classes = list(classes)
    network = layer_pass.network
    patches = square_patches(layer_pass.images, parameters.patch)
    rows = passes.rows_per_pass(network, layer_pass.images[:1])
    maps = []
    for image, baseline in _with_baselines(layer_pass, 1):
        model = MulticlassRidge()

        def record_scores(perturbed: Tensor, model: MulticlassRidge = model) -> Tensor:
            return model.record(passes.scores(network, target, perturbed)[:, rows_of_classes])

        generator = image_generator(parameters.seed, image[0])
        coefficients = Lime(record_scores, model, perturb_func=_coin_flips(generator)).attribute(
            image,
            baselines=baseline,
            feature_mask=patches,
            n_samples=parameters.samples,
            perturbations_per_eval=rows,
            return_input_shape=False,
        )
        maps.append(coefficients[:, patches[0, 0]])
    return torch.stack(maps)


LIME = Method(
    name="lime",
    title="LIME",
    description="A linear model that predicts the score from which patches of the image are "
    "visible.",
    formula="argmin_b sum_z w_z (score(X_z) - a - b z)^2 + |b|^2, z in {0, 1}^patches",
    source="Ribeiro et al., Why Should I Trust You (arXiv:1602.04938), equations 1 and 2",
    year=2016,
    cost=Cost.PERTURBATIONS,
    compute=lime,
    parameters=Patches,
    attribution_level=AttributionLevel.INPUT,
)


def square_patches(images: Tensor, side: int) -> Tensor:
    """The index of each pixel's patch, row by row (1, 1, h, w); border patches may be smaller."""
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device) // side
    columns = torch.arange(width, device=images.device) // side
    patches_per_row = int(columns[-1]) + 1
    return (rows.unsqueeze(1) * patches_per_row + columns)[None, None]


class MulticlassRidge:
    """Ridge regression of several classes' scores, with the part of captum's Model that Lime uses.

    Captum's own models fit one score; the samples are the same for all classes.
    """

    PENALTY = 1.0

    def __init__(self) -> None:
        self._scores: list[Tensor] = []
        self._coefficients: Tensor | None = None

    def record(self, scores: Tensor) -> Tensor:
        """Records scores (n, c); returns the single score per sample that captum expects (n,)."""
        self._scores.append(scores)
        return scores[:, 0]

    def fit(self, train_data: Any, **_: object) -> None:
        """Fits the recorded scores to the samples of captum's loader.

        Reads its dataset: the loader's iterator draws from the global generator.
        """
        visible, _first_scores, weights = train_data.dataset.tensors
        self._coefficients = weighted_ridge(visible, torch.cat(self._scores), weights, self.PENALTY)

    def representation(self) -> Tensor | None:
        """Coefficients (c, F); None before the fit."""
        return self._coefficients


def weighted_ridge(features: Tensor, scores: Tensor, weights: Tensor, penalty: float) -> Tensor:
    """The b (c, F) that minimizes sum_i w_i (y_i - a - b x_i)^2 + penalty |b|^2, for any a.

    Of features (n, F), scores (n, c) and weights (n,); computed in float64.
    """
    x, y, w = features.double(), scores.double(), weights.double().unsqueeze(1)
    x = x - (w * x).sum(0) / w.sum()
    y = y - (w * y).sum(0) / w.sum()
    gram = x.T @ (w * x) + penalty * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    coefficients: Tensor = torch.linalg.solve(gram, x.T @ (w * y))
    return coefficients.T.to(scores.dtype)


def _coin_flips(generator: torch.Generator) -> Callable[..., Tensor]:
    """Captum's default perturbation with its own generator: 0 or 1 for each patch (1, F)."""

    def flip(image: Tensor, *, num_interp_features: int, **_: object) -> Tensor:
        probabilities = torch.full((1, num_interp_features), 0.5)
        return torch.bernoulli(probabilities, generator=generator).long().to(image.device)

    return flip


def _with_baselines(layer_pass: LayerPass, rows: int) -> list[tuple[Tensor, Tensor | None]]:
    """Chunks of at most `rows` images, each with the baselines of its images; None: 0."""
    baseline = layer_pass.baseline
    chunks = torch.split(layer_pass.images, rows)
    if baseline is None:
        return [(chunk, None) for chunk in chunks]
    return list(zip(chunks, torch.split(baseline, rows), strict=True))


def _score_function(
    layer_pass: LayerPass, target: Target, class_index: int
) -> Callable[[Tensor], Tensor]:
    """The function that captum differentiates: images (N, D, h, w) to a score each (N,)."""
    network = layer_pass.network
    return lambda images: passes.linearized_score(network, target, network(images), class_index)


ATTRIBUTION_METHODS = (SMOOTH_GRAD, INTEGRATED_GRADIENTS, OCCLUSION, LIME)
