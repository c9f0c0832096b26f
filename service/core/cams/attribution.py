"""Attributions to pixels by captum, which is imported where it is used: it takes seconds.

Captum draws random numbers from torch's global generator. Seeding that would disturb whatever else
draws in this process, a training most of all, and be disturbed by it. So random numbers are drawn
here, from generators of each image's own, and handed to captum; nothing is shared between threads.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from pydantic import Field, NonNegativeInt, PositiveInt, ValidationInfo, field_validator
from torch import Tensor

from service.core.cams import passes
from service.core.cams.cut import Cut
from service.core.cams.method import Seeded
from service.core.cams.noise import generator, normal
from service.core.cams.targets import Target
from service.core.parameters import Parameters


class NoisyPixels(Parameters):
    """Of SmoothGrad."""

    samples: PositiveInt = Field(16, le=512, description="Noisy images averaged.")
    noise: float = Field(0.15, gt=0, le=2, description="Standard deviation; pixels are in 0..1.")
    seed: NonNegativeInt = Field(0, le=2**32 - 1, description="Of the random numbers.")


class Path(Parameters):
    """Of integrated gradients."""

    steps: PositiveInt = Field(16, le=256, description="Points of the Gauss-Legendre rule.")


class Patches(Seeded):
    """Of LIME."""

    samples: PositiveInt = Field(200, le=5000, description="Images with patches blackened.")
    patch: PositiveInt = Field(4, le=128, description="Side of the square patches, in pixels.")


class Window(Parameters):
    """Of occlusion."""

    window: PositiveInt = Field(5, le=128, description="Side of the black square, in pixels.")
    stride: PositiveInt = Field(
        2, le=128, validate_default=True, description="Pixels that it moves; at most its side."
    )

    @field_validator("stride")
    @classmethod
    def _leaves_no_gap(cls, stride: int, info: ValidationInfo) -> int:
        if stride > info.data.get("window", stride):
            raise ValueError("must not be greater than the window, or pixels would be left out")
        return stride


def smooth_grad(
    cut: Cut, target: Target, parameters: NoisyPixels, classes: Sequence[int]
) -> Tensor:
    """mean over noise d of the gradient at X + d, summed over colours (N, c, h, w).

    Smilkov et al. 2017, SmoothGrad (arXiv:1706.03825), section 3. Captum's Saliency, and what its
    NoiseTunnel would make of it with the same noise, which is each image's own and all classes'.
    """
    from captum.attr import Saliency

    rows = passes.rows_at_once(cut.network, cut.images[:1])
    noise = normal(cut.images, parameters.samples, tuple(cut.images.shape[1:]), parameters.seed)
    noisy = cut.images + parameters.noise * noise  # (samples, N, D, h, w)

    def gradient_of(class_index: int) -> Tensor:
        saliency = Saliency(_mixed_score(cut, target, class_index))
        # Captum warns of leaves that do not ask for a gradient.
        leaves = [some.detach().requires_grad_() for some in torch.split(noisy.flatten(0, 1), rows)]
        found = torch.cat([saliency.attribute(some, abs=False) for some in leaves])
        return found.view_as(noisy).mean(0).sum(1)

    return torch.stack([gradient_of(class_index) for class_index in classes], dim=1)


def integrated_gradients(
    cut: Cut, target: Target, parameters: Path, classes: Sequence[int]
) -> Tensor:
    """X times the mean of the gradient on the way from black to X, over colours (N, c, h, w).

    Sundararajan et al. 2017 (arXiv:1703.01365), equations 1 and 3, by captum's Gauss-Legendre rule.
    Sums over pixels to score(X) - score(black), but for the rule's error.
    """
    from captum.attr import IntegratedGradients

    rows, steps = passes.rows_at_once(cut.network, cut.images[:1]), parameters.steps

    def attribution(class_index: int) -> Tensor:
        integrated = IntegratedGradients(_mixed_score(cut, target, class_index))
        found = [
            integrated.attribute(
                some, n_steps=steps, internal_batch_size=rows if rows < steps else None
            )
            for some in torch.split(cut.images, max(1, rows // steps))
        ]
        return torch.cat(found).sum(1)

    return torch.stack([attribution(class_index) for class_index in classes], dim=1)


def occlusion(cut: Cut, target: Target, parameters: Window, classes: Sequence[int]) -> Tensor:
    """What the score loses as a black square hides a pixel, mean over squares (N, c, h, w).

    Zeiler and Fergus 2014 (arXiv:1311.2901), section 4.2, by captum's Occlusion. The square hides
    all colours at once, and so the loss counts once. On a smaller image it is as large as that.
    """
    from captum.attr import Occlusion

    chosen = list(classes)
    depth, height, width = cut.images.shape[1:]
    sides = (min(parameters.window, height), min(parameters.window, width))
    strides = tuple(min(parameters.stride, side) for side in sides)
    occluded = Occlusion(lambda images: passes.scores(cut.network, target, images)[:, chosen])
    rows = passes.rows_at_once(cut.network, cut.images[:1])
    # Captum holds for each square the losses of all classes, spread over the image.
    losses = cut.images[:1].numel() * cut.images.element_size() * len(chosen)
    rows = max(1, min(rows, passes.PASS_BYTES // losses))
    found = [
        occluded.attribute(
            some,
            sliding_window_shapes=(depth, *sides),
            strides=(depth, *strides),
            perturbations_per_eval=max(1, rows // len(some)),
        ).view(len(some), len(chosen), depth, height, width)
        for some in torch.split(cut.images, rows)
    ]
    return torch.cat(found)[:, :, 0]  # the same for each colour


def lime(cut: Cut, target: Target, parameters: Patches, classes: Sequence[int]) -> Tensor:
    """Coefficients of the linear model that foretells scores from patches shown (N, c, h, w).

    Ribeiro et al. 2016 (arXiv:1602.04938), equations 1 and 2, by captum's Lime: images with each
    patch black at even odds, weighted by exp(-d^2 / 2), d being their cosine distance to the image;
    ridge regression, as in the authors' package. Every pixel has the coefficient of its patch.
    """
    from captum.attr import Lime

    chosen = list(classes)
    patches = square_patches(cut.images, parameters.patch)
    rows = passes.rows_at_once(cut.network, cut.images[:1])
    maps = []
    for image in torch.split(cut.images, 1):
        model = RidgeOfAllClasses()

        def watched(perturbed: Tensor, model: RidgeOfAllClasses = model) -> Tensor:
            return model.watch(passes.scores(cut.network, target, perturbed)[:, chosen])

        numbers = generator(parameters.seed, image[0])
        coefficients = Lime(watched, model, perturb_func=_at_even_odds(numbers)).attribute(
            image,
            feature_mask=patches,
            n_samples=parameters.samples,
            perturbations_per_eval=rows,
            return_input_shape=False,
        )
        maps.append(coefficients[:, patches[0, 0]])
    return torch.stack(maps)


def square_patches(images: Tensor, side: int) -> Tensor:
    """Each pixel's patch, numbered by rows (1, 1, h, w); at the far borders they may be smaller."""
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device) // side
    columns = torch.arange(width, device=images.device) // side
    across = int(columns[-1]) + 1
    return (rows.unsqueeze(1) * across + columns)[None, None]


class RidgeOfAllClasses:
    """The model that captum fits, in the part of its Model interface that Lime uses.

    Captum's fits one score; the samples are the same for all classes, so this one watches all.
    """

    PENALTY = 1.0

    def __init__(self) -> None:
        self._scores: list[Tensor] = []
        self._coefficients: Tensor | None = None

    def watch(self, scores: Tensor) -> Tensor:
        """Keeps scores (n, c); gives captum the one number a sample that it wants."""
        self._scores.append(scores)
        return scores[:, 0]

    def fit(self, train_data: Any, **_: object) -> None:
        """Fits the samples of captum's loader. Read past its iterator, which draws a number."""
        shown, _first, weights = train_data.dataset.tensors
        self._coefficients = weighted_ridge(shown, torch.cat(self._scores), weights, self.PENALTY)

    def representation(self) -> Tensor | None:
        """Coefficients (c, F) once fitted."""
        return self._coefficients


def weighted_ridge(features: Tensor, scores: Tensor, weights: Tensor, penalty: float) -> Tensor:
    """b (c, F) least in sum_i w_i (y_i - a - b x_i)^2 + penalty |b|^2, a being free.

    Of features (n, F), scores (n, c) and weights (n,); float64 inside.
    """
    x, y, w = features.double(), scores.double(), weights.double().unsqueeze(1)
    x = x - (w * x).sum(0) / w.sum()
    y = y - (w * y).sum(0) / w.sum()
    gram = x.T @ (w * x) + penalty * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    coefficients: Tensor = torch.linalg.solve(gram, x.T @ (w * y))
    return coefficients.T.to(scores.dtype)


def _at_even_odds(numbers: torch.Generator) -> Callable[..., Tensor]:
    """Captum's default perturbation, with a generator of its own: 0 or 1 for each patch (1, F)."""

    def drawn(image: Tensor, *, num_interp_features: int, **_: object) -> Tensor:
        odds = torch.full((1, num_interp_features), 0.5)
        return torch.bernoulli(odds, generator=numbers).long().to(image.device)

    return drawn


def _mixed_score(cut: Cut, target: Target, class_index: int) -> Callable[[Tensor], Tensor]:
    """What captum is to differentiate: of images (N, D, h, w) a number each (N,)."""
    return lambda images: passes.mixed(cut.network, target, cut.network(images), class_index)
