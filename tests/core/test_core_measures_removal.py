"""Measures by removal and masking, on networks whose scores are computed by hand."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from service.core.measures.deletion import deletion, insertion
from service.core.measures.measure import EvaluationBatch
from service.core.measures.measures import MEASURES
from service.core.measures.pointing import foreground
from service.core.measures.road import impute
from service.core.models import StagedNetwork


def linear(weights: list[float] | Tensor) -> StagedNetwork:
    """Two classes whose logits are (weights . pixels, 0): p_0 = sigmoid(weights . pixels)."""
    row = torch.as_tensor(weights, dtype=torch.float32)
    layer = nn.Linear(len(row), 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.stack([row, torch.zeros_like(row)]))
    return StagedNetwork({"flatten": nn.Flatten(), "output": layer}).eval()


def subject(
    network: StagedNetwork, images: Tensor, maps: Tensor, **fields: Tensor
) -> EvaluationBatch:
    classes = torch.zeros(len(images), dtype=torch.long)
    return EvaluationBatch(
        network, images, classes, maps, lambda _, images, __: images.mean(1), **fields
    )


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.fixture
def four_pixels() -> EvaluationBatch:
    image = torch.tensor([[[[1.0, 0.5], [0.25, 1.0]]]])
    maps = torch.tensor([[[0.2, 0.9], [0.4, 0.1]]])  # order: 0.9, 0.4, 0.2, 0.1
    return subject(linear([2.0, 4.0, -4.0, 1.0]), image, maps)


def test_deletion_and_insertion_are_areas_under_the_curve(
    four_pixels: EvaluationBatch,
) -> None:
    # weights times pixels in the map's order: 2, -1, 2, 1; their sum: 4
    deletion_scores = [4, 2, 3, 1, 0]
    insertion_scores = [0, 2, 1, 3, 4]
    for compute, scores in ((deletion, deletion_scores), (insertion, insertion_scores)):
        p = [sigmoid(score) for score in scores]
        area = sum((a + b) / 2 * 0.25 for a, b in pairwise(p))
        assert compute(four_pixels, steps=4).tolist() == pytest.approx([area], abs=1e-6)


def test_steps_that_do_not_divide_the_pixels_have_their_exact_widths(
    four_pixels: EvaluationBatch,
) -> None:
    p = [sigmoid(score) for score in (4, 3, 0)]  # 0, 2 and 4 pixels: 3 steps round to 0, 1, 3, 4
    two = (p[0] + 2 * p[1] + p[2]) / 4
    assert deletion(four_pixels, steps=2).item() == pytest.approx(two, abs=1e-6)
    q = [sigmoid(score) for score in (4, 2, 1, 0)]
    three = (q[0] + q[1]) / 8 + (q[1] + q[2]) / 4 + (q[2] + q[3]) / 8
    assert deletion(four_pixels, steps=3).item() == pytest.approx(three, abs=1e-6)


def test_equal_values_are_ranked_in_reading_order() -> None:
    image = torch.tensor([[[[1.0, 1.0], [1.0, 1.0]]]])
    network = linear([1.0, 2.0, 3.0, 4.0])
    constant = subject(network, image, torch.full((1, 2, 2), 0.7))
    assert constant.ranks.tolist() == [[[0, 1], [2, 3]]]
    falling = subject(network, image, torch.tensor([[[4.0, 3.0], [2.0, 1.0]]]))
    for compute in (deletion, insertion):
        assert torch.equal(compute(constant), compute(falling))
        assert torch.equal(compute(constant), compute(constant))


def test_average_drop_and_increase_by_hand() -> None:
    image = torch.ones(1, 1, 2, 2)
    maps = torch.tensor([[[4.0, 2.0], [0.0, 0.0]]])  # divided by its peak: 1, 0.5, 0, 0
    losing = subject(linear([1.0, 2.0, 1.0, 0.0]), image, maps)
    drop = (sigmoid(4) - sigmoid(2)) / sigmoid(4)
    assert MEASURES["average-drop"].compute(losing).item() == pytest.approx(drop, abs=1e-6)
    assert MEASURES["increase"].compute(losing).item() == 0
    gaining = subject(linear([1.0, 2.0, -1.0, 0.0]), image, maps)  # equal: 2 and 2
    assert MEASURES["average-drop"].compute(gaining).item() == 0
    assert MEASURES["increase"].compute(gaining).item() == 0
    gaining = subject(linear([1.0, 2.0, -2.0, 0.0]), image, maps)
    assert MEASURES["average-drop"].compute(gaining).item() == 0
    assert MEASURES["increase"].compute(gaining).item() == 1


def test_coherency_complexity_and_their_harmonic_mean_by_hand() -> None:
    image, maps = torch.ones(1, 1, 2, 2), torch.tensor([[[4.0, 2.0], [0.0, 0.0]]])
    network = linear([1.0, 2.0, 1.0, 0.0])
    masked_map = torch.tensor([[[2.0, 1.0], [0.0, 0.0]]])  # correlates fully
    batch = EvaluationBatch(
        network, image, torch.zeros(1, dtype=torch.long), maps, lambda *_: masked_map
    )
    drop = (sigmoid(4) - sigmoid(2)) / sigmoid(4)
    assert MEASURES["coherency"].compute(batch).item() == pytest.approx(1)
    assert MEASURES["complexity"].compute(batch).item() == pytest.approx(1.5 / 4)
    mean = 3 / (1 + 1 / (1 - 1.5 / 4) + 1 / (1 - drop))
    assert MEASURES["adcc"].compute(batch).item() == pytest.approx(mean, abs=1e-6)


def test_map_of_zeros_has_finite_values() -> None:
    image = torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    network = StagedNetwork({"flatten": nn.Flatten(), "output": nn.Linear(36, 2)}).eval()
    blank = subject(network, image, torch.zeros(2, 6, 6), untrained=network)
    for measure in MEASURES.values():
        assert measure.compute(blank).isfinite().all(), measure.name
    assert MEASURES["pointing-game"].compute(blank).tolist() == [0, 0]
    assert MEASURES["complexity"].compute(blank).tolist() == [0, 0]
    assert MEASURES["coherency"].compute(blank).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    "name",
    [
        "deletion", "insertion", "road", "road-most-relevant-first", "road-least-relevant-first",
        "average-drop", "pointing-game", "infidelity",
    ],
)  # fmt: skip
def test_map_of_the_relevant_pixels_beats_random_maps(name: str) -> None:
    generator = torch.Generator().manual_seed(3)
    side, image_count = 10, 8
    relevant = torch.zeros(side, side, dtype=torch.bool)
    relevant[3:6, 2:7] = True
    network = linear(0.4 * relevant.flatten().float())
    # A checkerboard, whose imputed pixels differ from the true ones.
    bright = (torch.arange(side).unsqueeze(0) + torch.arange(side).unsqueeze(1)) % 2 == 0
    images = 0.5 * torch.rand(image_count, 1, side, side, generator=generator) + 0.5 * bright
    images = images * (0.3 + 0.7 * relevant)
    mask = relevant.expand(image_count, -1, -1)
    perfect = (images[:, 0] * relevant).clone()
    random = torch.rand(image_count, side, side, generator=generator)
    measure = MEASURES[name]
    perfect_score = measure.compute(subject(network, images, perfect, mask=mask)).mean()
    random_score = measure.compute(subject(network, images, random, mask=mask)).mean()
    assert (perfect_score > random_score) == (measure.better_direction == "higher"), (
        perfect_score,
        random_score,
    )


def test_pointing_game_is_the_share_of_energy_on_the_object() -> None:
    image = torch.tensor([[[[1.0, 0.6], [0.4, 0.0]]]])
    maps = torch.tensor([[[3.0, 1.0], [2.0, 2.0]]])
    assert foreground(image).tolist() == [[[True, True], [False, False]]]
    batch = subject(linear([0.0] * 4), image, maps)
    assert MEASURES["pointing-game"].compute(batch).item() == pytest.approx(4 / 8)
    mask = torch.tensor([[[False, True], [True, True]]])
    batch = subject(linear([0.0] * 4), image, maps, mask=mask)
    assert MEASURES["pointing-game"].compute(batch).item() == pytest.approx(5 / 8)


def test_imputed_pixels_are_the_weighted_mean_of_their_neighbors() -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(2, 3, 7, 5, generator=generator)
    mask = torch.rand(2, 7, 5, generator=generator) < 0.5
    result = impute(images, mask)
    assert torch.equal(result[~mask.unsqueeze(1).expand_as(result)],
                       images[~mask.unsqueeze(1).expand_as(images)])  # fmt: skip
    weights = {(dy, dx): 1 / 6 if 0 in (dy, dx) else 1 / 12
               for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)}  # fmt: skip
    for image, y, x in mask.nonzero().tolist():
        neighbor_weights = {
            (y + dy, x + dx): weight
            for (dy, dx), weight in weights.items()
            if 0 <= y + dy < 7 and 0 <= x + dx < 5
        }
        mean = sum(result[image, :, i, j] * w for (i, j), w in neighbor_weights.items()) / sum(
            neighbor_weights.values()
        )
        torch.testing.assert_close(result[image, :, y, x], mean, atol=1e-6, rtol=0)
    assert torch.equal(impute(images, torch.zeros_like(mask)), images)
    assert impute(images, torch.ones_like(mask)).abs().max() == 0


def test_large_image_is_imputed_with_a_sparse_system() -> None:
    image = torch.linspace(0, 1, 120).expand(1, 1, 120, 120).contiguous()
    mask = torch.zeros(1, 120, 120, dtype=torch.bool)
    mask[:, 20:100, 30:90] = True  # 4,800 unknowns: a dense system would hold 23 million numbers
    torch.testing.assert_close(impute(image, mask), image, atol=1e-5, rtol=0)


def test_memory_is_bounded_by_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(2))
    network = StagedNetwork({"flatten": nn.Flatten(), "output": nn.Linear(36, 3)}).eval()
    maps = images[:, 0].flip(0)
    expected = {m.name: m.compute(subject(network, images, maps, untrained=network))
             for m in MEASURES.values()}  # fmt: skip
    batch_sizes: list[int] = []
    network.register_forward_pre_hook(lambda _, inputs: batch_sizes.append(len(inputs[0])))
    monkeypatch.setattr("service.core.measures.measure.PASS_BYTES", 40 * (36 + 3) * 4)
    for measure in MEASURES.values():
        chunked = measure.compute(subject(network, images, maps, untrained=network))
        torch.testing.assert_close(chunked, expected[measure.name], atol=1e-6, rtol=1e-5)
    assert 0 < max(batch_sizes) <= 40
