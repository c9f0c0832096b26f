"""Infidelity and sensitivity, by captum: how small changes of the image change score and map."""

from collections.abc import Callable

import torch
from torch import Tensor

from service.core.cams.passes import image_generator, normal_noise
from service.core.measures.measure import Direction, EvaluationBatch, Measure, images_per_pass
from service.core.preprocessing import level_bounds

INFIDELITY_SAMPLES = 32
INFIDELITY_DEVIATION = 0.2
SENSITIVITY_SAMPLES = 10
SENSITIVITY_RADIUS = 0.02


def infidelity(batch: EvaluationBatch) -> Tensor:
    """Values (N,), >= 0, with the best scale beta of each map (captum's `normalize`).

    A class activation map has no scale of its own. I is Gaussian noise of standard deviation 0.2
    of the levels 0..1, and leaves x - I within them; channels share the map equally. The mean is
    over 32 samples, which are each image's own. Section 2 of the paper.
    """
    return _in_slices(batch, INFIDELITY_SAMPLES, _infidelity)


INFIDELITY = Measure(
    name="infidelity",
    title="Infidelity",
    description="How badly the map, at its best scale, predicts what noise does to the "
    "probability.",
    formula="mean of (beta I^T L - (p_c(x) - p_c(x - I)))^2",
    source="Yeh et al., On the (In)fidelity and Sensitivity of Explanations (arXiv:1901.09392), by "
    "captum",
    year=2019,
    range=(0, None),
    better_direction=Direction.LOWER,
    compute=infidelity,
)


def sensitivity_max(batch: EvaluationBatch) -> Tensor:
    """Values (N,), >= 0, over 10 samples y within 0.02 of x in each pixel, each image's own.

    Divided by the map's norm as in captum. Section 3 of the paper.
    """
    return _in_slices(batch, SENSITIVITY_SAMPLES, _sensitivity_max)


SENSITIVITY = Measure(
    name="sensitivity",
    title="Sensitivity, maximum",
    description="How far the map moves, relative to its norm, when each pixel moves by up to 0.02.",
    formula="max |L(y) - L(x)| / |L(x)|",
    source="Yeh et al., On the (In)fidelity and Sensitivity of Explanations (arXiv:1901.09392), by "
    "captum",
    year=2019,
    range=(0, None),
    better_direction=Direction.LOWER,
    compute=sensitivity_max,
)


def _in_slices(
    batch: EvaluationBatch, samples: int, compute: Callable[[EvaluationBatch, slice], Tensor]
) -> Tensor:
    size = max(1, images_per_pass(batch.network, batch.images) // samples)
    starts = range(0, len(batch.images), size)
    return torch.cat([compute(batch, slice(start, start + size)) for start in starts])


def _infidelity(batch: EvaluationBatch, rows: slice) -> Tensor:
    from captum.metrics import infidelity as captum_infidelity

    images, network = batch.images[rows], batch.network
    numbers = normal_noise(images, INFIDELITY_SAMPLES, tuple(images.shape[1:]), batch.seed)
    # Captum orders by image, then by sample.
    black, white = level_bounds(images, batch.input_spec)
    noise = INFIDELITY_DEVIATION * (white - black) * numbers.transpose(0, 1).flatten(0, 1)

    def perturb(originals: Tensor) -> tuple[Tensor, Tensor]:
        perturbed = (originals - noise).clamp(black, white)
        return originals - perturbed, perturbed

    def probabilities(images: Tensor) -> Tensor:
        return network.logits(network(images)).softmax(1)

    attributions = batch.maps[rows].unsqueeze(1).expand_as(images) / images.shape[1]
    values: Tensor = captum_infidelity(
        probabilities,
        perturb,
        images,
        attributions,
        target=batch.classes[rows],
        n_perturb_samples=INFIDELITY_SAMPLES,
        normalize=True,
    )
    # Captum expands the square, whose terms may cancel to slightly below 0.
    return values.clamp(min=0)


def _sensitivity_max(batch: EvaluationBatch, rows: slice) -> Tensor:
    from captum.metrics import sensitivity_max as captum_sensitivity

    images = batch.images[rows]
    shape = (SENSITIVITY_SAMPLES, *images.shape[1:])
    numbers = [torch.rand(shape, generator=image_generator(batch.seed, image)) for image in images]
    black, white = level_bounds(images, batch.input_spec)
    noise = SENSITIVITY_RADIUS * (white - black) * (2 * torch.cat(numbers).to(images) - 1)

    def explain(
        inputs: Tensor | tuple[Tensor], target: Tensor
    ) -> Tensor | tuple[Tensor]:  # a tuple for a tuple, as captum's own attributions
        if isinstance(inputs, tuple):
            return (batch.maps[rows],)
        # Captum repeats the classes with the images, except those of a single image.
        classes = target.repeat_interleave(len(inputs) // len(target))
        return batch.explain(batch.network, inputs, classes)

    values: Tensor = captum_sensitivity(
        explain,
        images,
        perturb_func=lambda originals: originals + noise,
        n_perturb_samples=SENSITIVITY_SAMPLES,
        target=batch.classes[rows],
    )
    return values


PERTURBATION_MEASURES = (INFIDELITY, SENSITIVITY)
