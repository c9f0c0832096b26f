"""Measures equal the metrics of pytorch-grad-cam, captum and scipy on the same weights."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from captum.metrics import infidelity
from pytorch_grad_cam.metrics.arcc import ARCC, Coherency, Complexity
from pytorch_grad_cam.metrics.cam_mult_image import DropInConfidence, IncreaseInConfidence
from pytorch_grad_cam.metrics.perturbation_confidence import (
    PerturbationConfidenceMetric,
    RemoveLeastRelevantFirst,
    RemoveMostRelevantFirst,
)
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
from scipy.stats import spearmanr

from service.core.cams.passes import image_generator, normal_noise
from service.core.measures import perturbation
from service.core.measures.explainer import Explainer
from service.core.measures.measure import EvaluationBatch
from service.core.measures.measures import MEASURES
from service.core.measures.road import PERCENTILES, changes, impute
from service.core.measures.similarity import spearman, ssim
from service.core.models import StagedNetwork

EXPLAIN = Explainer("layer-cam", "conv2")


@pytest.fixture(scope="module")
def network(untrained: Callable[..., StagedNetwork]) -> StagedNetwork:
    """An untrained network whose units differ enough for its probabilities to change."""
    network = untrained(seed=4, hidden_activation="relu")
    with torch.no_grad():
        network.output.weight.mul_(30)
    return network


@pytest.fixture(scope="module")
def subject(network: StagedNetwork, images: torch.Tensor) -> EvaluationBatch:
    classes = network(images).argmax(1)
    return EvaluationBatch(network, images, classes, EXPLAIN(network, images, classes), EXPLAIN)


@pytest.fixture(scope="module")
def untied(subject: EvaluationBatch) -> EvaluationBatch:
    """A batch with maps without ties, because pytorch-grad-cam removes equal values at once."""
    random = torch.Generator().manual_seed(0)
    order = torch.stack([torch.randperm(784, generator=random) for _ in subject.images])
    maps = (order / 784).view(-1, 28, 28)
    return EvaluationBatch(subject.network, subject.images, subject.classes, maps, EXPLAIN)


def targets(subject: EvaluationBatch) -> list[ClassifierOutputSoftmaxTarget]:
    return [ClassifierOutputSoftmaxTarget(c) for c in subject.classes.tolist()]


def test_imputation_equals_pytorch_grad_cam(images: torch.Tensor) -> None:
    random = torch.Generator().manual_seed(5)
    for share in (0.2, 0.8):
        masks = torch.rand(len(images), 28, 28, generator=random) < share
        masks[:, 4:14, 6:20] = True
        theirs = [
            NoisyLinearImputer(noise=0)(image, (~mask).float())
            for image, mask in zip(images, masks, strict=True)
        ]
        ours = impute(images, masks)
        torch.testing.assert_close(ours, torch.stack(theirs), atol=1e-6, rtol=0)


def test_road_without_noise_equals_pytorch_grad_cam(untied: EvaluationBatch) -> None:
    ours = changes(untied, noise=0)
    for column, remove in enumerate((RemoveMostRelevantFirst, RemoveLeastRelevantFirst)):
        theirs = np.mean(
            [
                PerturbationConfidenceMetric(remove(percentile, NoisyLinearImputer(noise=0)))(
                    untied.images, untied.maps.numpy(), targets(untied), untied.network
                )
                for percentile in PERCENTILES
            ],
            axis=0,
        )
        assert np.abs(theirs).max() > 0.01
        np.testing.assert_allclose(ours[:, column].numpy(), theirs, atol=2e-6)


def test_road_is_half_of_the_difference_with_little_noise(
    untied: EvaluationBatch,
) -> None:
    most_relevant_first, least_relevant_first = changes(untied, noise=0).unbind(1)
    noisy = MEASURES["road"].compute(untied)
    torch.testing.assert_close(
        noisy, (least_relevant_first - most_relevant_first) / 2, atol=0.05, rtol=0
    )
    assert not torch.equal(noisy, (least_relevant_first - most_relevant_first) / 2)


def test_drop_and_increase_equal_pytorch_grad_cam(subject: EvaluationBatch) -> None:
    arguments = (subject.images, subject.normalized_maps.numpy(), targets(subject), subject.network)
    drop = MEASURES["average-drop"].compute(subject)
    # Unlike in the paper, theirs is not divided by the original confidence.
    theirs = DropInConfidence()(*arguments)
    assert theirs.max() > 0.01
    np.testing.assert_allclose((drop * subject.confidences).numpy(), theirs, atol=1e-6)
    rise = MEASURES["increase"].compute(subject)
    np.testing.assert_array_equal(rise.numpy(), IncreaseInConfidence()(*arguments))


def test_coherency_complexity_and_arcc_equal_pytorch_grad_cam(subject: EvaluationBatch) -> None:
    maps, class_targets = subject.normalized_maps.numpy(), targets(subject)

    def explain(input_tensor: torch.Tensor, targets: object) -> np.ndarray:
        return EXPLAIN(subject.network, input_tensor, subject.classes).numpy()

    arguments = (subject.images, maps, class_targets, subject.network)
    coherency = MEASURES["coherency"].compute(subject)
    np.testing.assert_allclose(coherency.numpy(), Coherency()(*arguments, explain), atol=1e-5)
    complexity = MEASURES["complexity"].compute(subject)
    np.testing.assert_allclose(complexity.numpy(), Complexity()(maps), atol=1e-6)
    arcc_metric = ARCC(explain)
    # Theirs draws its noise from the global generator, so both use our ROAD.
    arcc_metric.road = lambda *_: MEASURES["road"].compute(subject).numpy()
    arcc = MEASURES["arcc"].compute(subject)
    np.testing.assert_allclose(arcc.numpy(), arcc_metric(*arguments), atol=1e-5)


def test_infidelity_is_the_formula_of_captum_with_seeded_noise(subject: EvaluationBatch) -> None:
    images, classes = subject.images, subject.classes
    samples = perturbation.INFIDELITY_SAMPLES
    noise = 0.2 * normal_noise(images, samples, (1, 28, 28), subject.seed)
    noisy_images = (images - noise).clamp(0, 1)  # (S, N, 1, 28, 28)
    predicted_drop = ((images - noisy_images)[:, :, 0] * subject.maps).sum((2, 3))
    index = classes.repeat(samples).unsqueeze(1)
    noisy_confidences = (
        subject.network(noisy_images.flatten(0, 1)).softmax(1).gather(1, index).view(samples, -1)
    )
    actual_drop = subject.confidences - noisy_confidences
    scale = (predicted_drop * actual_drop).sum(0) / predicted_drop.square().sum(0)
    expected = (scale * predicted_drop - actual_drop).square().mean(0)
    ours = MEASURES["infidelity"].compute(subject)
    torch.testing.assert_close(ours, expected.detach(), atol=1e-6, rtol=1e-3)


def test_gradient_of_a_linear_score_has_no_infidelity() -> None:
    """Captum confirms the identity that the measure relies on."""
    weights = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    images = torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(2))
    noise = torch.rand(20, 1, 6, 6, generator=torch.Generator().manual_seed(3))
    result = infidelity(
        lambda x: (x * weights).sum((1, 2, 3)),
        lambda x: (noise, x - noise),
        images,
        7 * weights.expand_as(images),
        normalize=True,
    )
    assert result.abs().max() < 1e-5


def test_sensitivity_is_the_largest_change_of_the_map(subject: EvaluationBatch) -> None:
    samples = perturbation.SENSITIVITY_SAMPLES
    expected = []
    for image, label, initial_map in zip(
        subject.images, subject.classes, subject.maps, strict=True
    ):
        noise = torch.rand((samples, 1, 28, 28), generator=image_generator(0, image))
        noisy_maps = EXPLAIN(subject.network, image + 0.02 * (2 * noise - 1), label.repeat(samples))
        expected.append(
            (noisy_maps - initial_map).flatten(1).norm(dim=1).max() / initial_map.norm()
        )
    ours = MEASURES["sensitivity"].compute(subject)
    torch.testing.assert_close(ours, torch.stack(expected), atol=1e-4, rtol=1e-4)


def test_rank_correlation_equals_scipy_with_ties() -> None:
    random = torch.Generator().manual_seed(0)
    first = torch.randint(0, 6, (4, 5, 7), generator=random).float()
    second = torch.rand(4, 5, 7, generator=random).clamp(min=0.5)
    expected = [
        spearmanr(a.flatten(), b.flatten()).statistic for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(spearman(first, second).numpy(), expected, atol=1e-6)
    assert spearman(first, torch.zeros_like(first)).tolist() == [0] * 4
    assert spearman(torch.ones(1, 3, 3), torch.zeros(1, 3, 3)).item() == 1


def test_ssim_is_equation_13_in_each_window() -> None:
    random = torch.Generator().manual_seed(0)
    pair = torch.rand(2, 13, 12, generator=random, dtype=torch.float64)
    distance = torch.arange(-5, 6, dtype=torch.float64)
    line = torch.exp(-(distance**2) / (2 * 1.5**2))
    weights = torch.outer(line, line) / line.sum() ** 2
    x, y = pair / pair.amax((1, 2), keepdim=True)
    result = []
    for top in range(3):
        for left in range(2):
            a, b = (m[top : top + 11, left : left + 11] for m in (x, y))
            mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
            deviations = (weights * (a - mean_a) ** 2).sum() + (weights * (b - mean_b) ** 2).sum()
            covariance = (weights * (a - mean_a) * (b - mean_b)).sum()
            result.append(
                (2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
                / ((mean_a**2 + mean_b**2 + 1e-4) * (deviations + 9e-4))
            )  # fmt: skip
    ours = ssim(pair[:1], pair[1:])
    torch.testing.assert_close(ours[0], torch.stack(result).mean())
    assert ssim(pair, pair).tolist() == pytest.approx([1, 1])
    assert ssim(pair[:, :4, :4], pair[:, :4, :4]).tolist() == pytest.approx([1, 1])
