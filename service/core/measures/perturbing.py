"""Infidelity and sensitivity, by captum: what small changes of the image do to score and map."""

from collections.abc import Callable

import torch
from torch import Tensor

from service.core.cams.passes import image_generator, normal_noise
from service.core.measures.measure import EvaluationBatch, batch_size

INFIDELITY_SAMPLES = 32
INFIDELITY_DEVIATION = 0.2
SENSITIVITY_SAMPLES = 10
SENSITIVITY_RADIUS = 0.02


def infidelity(subject: EvaluationBatch) -> Tensor:
    """E_I (beta I^T L - (f(x) - f(x - I)))^2, >= 0, (N,): how badly the map foretells f's changes.

    Yeh et al. 2019 (arXiv:1901.09392), section 2, with their best scale beta of each map
    (captum's `normalize`), since a class activation map has no scale of its own. f is the class's
    probability, I is Gaussian noise of deviation 0.2 that leaves x - I within 0..1, and channels
    share the map alike. The expectation is over 32 samples, which are each image's own.
    """
    return _in_parts(subject, INFIDELITY_SAMPLES, _infidelity)


def sensitivity_max(subject: EvaluationBatch) -> Tensor:
    """max_y |L(y) - L(x)| / |L(x)| over images y within 0.02 of x in each pixel, >= 0, (N,).

    Yeh et al. 2019 (arXiv:1901.09392), section 3, divided by the map's norm as captum does,
    over 10 samples, which are each image's own.
    """
    return _in_parts(subject, SENSITIVITY_SAMPLES, _sensitivity_max)


def _in_parts(
    subject: EvaluationBatch, samples: int, compute: Callable[[EvaluationBatch, slice], Tensor]
) -> Tensor:
    at_once = max(1, batch_size(subject.network, subject.images) // samples)
    starts = range(0, len(subject.images), at_once)
    return torch.cat([compute(subject, slice(start, start + at_once)) for start in starts])


def _infidelity(subject: EvaluationBatch, part: slice) -> Tensor:
    from captum.metrics import infidelity as by_captum

    images, network = subject.images[part], subject.network
    drawn = normal_noise(images, INFIDELITY_SAMPLES, tuple(images.shape[1:]), subject.seed)
    # Captum repeats each image in its place: image by image, all of its samples.
    noise = INFIDELITY_DEVIATION * drawn.transpose(0, 1).flatten(0, 1)

    def change(repeated: Tensor) -> tuple[Tensor, Tensor]:
        changed = (repeated - noise).clamp(0, 1)
        return repeated - changed, changed

    def probabilities(some: Tensor) -> Tensor:
        return network.logits(network(some)).softmax(1)

    spread = subject.maps[part].unsqueeze(1).expand_as(images) / images.shape[1]
    found: Tensor = by_captum(
        probabilities,
        change,
        images,
        spread,
        target=subject.classes[part],
        n_perturb_samples=INFIDELITY_SAMPLES,
        normalize=True,
    )
    # Its squares cancel, and may leave a little less than nothing.
    return found.clamp(min=0)


def _sensitivity_max(subject: EvaluationBatch, part: slice) -> Tensor:
    from captum.metrics import sensitivity_max as by_captum

    images = subject.images[part]
    shape = (SENSITIVITY_SAMPLES, *images.shape[1:])
    drawn = [torch.rand(shape, generator=image_generator(subject.seed, image)) for image in images]
    noise = SENSITIVITY_RADIUS * (2 * torch.cat(drawn).to(images) - 1)

    def explain(
        given: Tensor | tuple[Tensor], target: Tensor
    ) -> Tensor | tuple[Tensor]:  # as captum's own attributions answer: a tuple for a tuple
        if isinstance(given, tuple):
            return (subject.maps[part],)
        # Captum repeats the classes with the images, but for those of a single image.
        classes = target.repeat_interleave(len(given) // len(target))
        return subject.explain(subject.network, given, classes)

    found: Tensor = by_captum(
        explain,
        images,
        perturb_func=lambda repeated: repeated + noise,
        n_perturb_samples=SENSITIVITY_SAMPLES,
        target=subject.classes[part],
    )
    return found
