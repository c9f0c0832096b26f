"""Sanity checks, the placement of maps on pixels, and properties of all measures."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from service.core.cams.maps import class_maps
from service.core.datasets.dataset import Dataset
from service.core.measures.evaluation import RANDOM_MAPS, evaluate
from service.core.measures.explainer import Explainer
from service.core.measures.measure import EvaluationBatch, confidences
from service.core.measures.measures import DEFAULT_MEASURES, MEASURES
from service.core.measures.resampling import layer_placement, resample_to_pixels
from service.core.measures.sanity import cascade, randomized_maps
from service.core.models import Placement, StagedNetwork
from service.core.render.cells import Cell, Scale, _resample
from service.errors import InvalidValue, UnknownName

Build = Callable[..., StagedNetwork]


def evaluation_batch(
    network: StagedNetwork, images: Tensor, method: str = "layer-cam"
) -> EvaluationBatch:
    explain = Explainer(method, "conv2")
    classes = torch.arange(len(images)) % 2
    return EvaluationBatch(
        network, images, classes, explain(network, images, classes), explain, network
    )


def test_cascade_randomizes_weights_from_the_top_in_copies(untrained: Build) -> None:
    network = untrained()
    initial_state = copy.deepcopy(network.state_dict())
    rng_state = torch.get_rng_state()
    randomized_stages: list[str] = []
    for name, randomized in cascade(network, seed=0):
        randomized_stages.append(name)
        for stage, tensor in randomized.state_dict().items():
            is_unchanged = torch.equal(tensor, initial_state[stage])
            assert is_unchanged == (stage.split(".")[0] not in randomized_stages), stage
        bound = randomized.get_submodule(name).weight[0].numel() ** -0.5
        largest = randomized.get_submodule(name).weight.abs().max()
        assert 0.8 * bound < largest <= bound, "within torch's initialization bound"
    assert randomized_stages == ["output", "hidden", "conv2", "conv1"]
    assert all(torch.equal(tensor, initial_state[k]) for k, tensor in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), rng_state), (
        "the global generator is shared by threads"
    )


def test_cascade_resets_normalizations() -> None:
    network = StagedNetwork({"norm": nn.BatchNorm2d(2), "flatten": nn.Flatten(),
                             "output": nn.Linear(8, 2)}).eval()  # fmt: skip
    with torch.no_grad():
        network.norm.weight.fill_(5)
    *_, (name, randomized) = cascade(network, seed=1)
    assert name == "norm"
    assert randomized.norm.weight.tolist() == [1, 1]
    assert network.norm.weight.tolist() == [5, 5]


def test_eigen_cam_does_not_depend_on_the_head(untrained: Build, images: Tensor) -> None:
    eigen = evaluation_batch(untrained(), images, "eigen-cam")
    maps = randomized_maps(eigen)  # randomized: output, hidden, conv2, conv1
    for head_maps in maps[:2]:
        torch.testing.assert_close(head_maps, eigen.maps)
    assert not torch.allclose(maps[2], eigen.maps, atol=1e-3)
    layer = evaluation_batch(untrained(), images, "layer-cam")
    assert not torch.allclose(randomized_maps(layer)[0], layer.maps, atol=1e-3)
    for name in ("randomized-spearman", "randomized-ssim"):
        compute = MEASURES[name].compute
        assert compute(eigen).mean() > compute(layer).mean()


def test_method_that_ignores_weights_fails_every_sanity_check(
    untrained: Build, images: Tensor
) -> None:
    network = untrained()
    classes = torch.zeros(len(images), dtype=torch.long)
    edges = EvaluationBatch(
        network, images, classes, images[:, 0], lambda _, x, __: x[:, 0], untrained(9)
    )
    for name in (
        "randomized-spearman", "randomized-ssim", "untrained-spearman", "untrained-ssim"
    ):  # fmt: skip
        assert MEASURES[name].compute(edges).tolist() == pytest.approx([1] * len(images))


def test_similarity_to_an_untrained_network_requires_that_network(
    untrained: Build, images: Tensor
) -> None:
    alone = EvaluationBatch(
        untrained(), images, torch.zeros(3).long(), images[:, 0], lambda *_: images
    )
    with pytest.raises(ValueError, match="untrained"):
        MEASURES["untrained-ssim"].compute(alone)


@pytest.mark.parametrize("layer", ["conv1", "conv2", "pool"])
def test_maps_are_resampled_to_the_pixels_at_which_they_are_rendered(
    untrained: Build, images: Tensor, layer: str
) -> None:
    network = untrained()
    result = class_maps(network, images[:1], layer, ["layer-cam"], [4]).class_map("layer-cam", 0, 4)
    placement = layer_placement(network, layer, images[:1])
    assert placement is not None
    cell = Cell(
        result, Scale.from_map(result), torch.zeros(1, 28, 28, dtype=torch.uint8), placement
    )
    ours = resample_to_pixels(torch.from_numpy(result.values)[None], (28, 28), placement)[0]
    rendered = torch.from_numpy(_resample(cell, result.values, 28).astype("float32"))
    torch.testing.assert_close(ours, rendered, atol=1e-6, rtol=1e-5)
    assert ours.max() > 0


def test_input_maps_are_not_resampled_and_unknown_geometry_is_stretched(images: Tensor) -> None:
    network = StagedNetwork({"odd": nn.LocalResponseNorm(2), "flatten": nn.Flatten()})
    assert layer_placement(network, "input", images) == Placement(0, 1)
    assert torch.equal(resample_to_pixels(images[:, 0], (28, 28), Placement(0, 1)), images[:, 0])
    assert layer_placement(network, "odd", images) is None
    wide = resample_to_pixels(torch.tensor([[[1.0, 0.0]]]), (3, 8), None)
    assert wide.shape == (1, 3, 8)
    assert wide[0, 1].tolist() == pytest.approx([0.625, 0.875, 0.875, 0.625, 0.375, 0.125, 0, 0])


def test_several_layers_have_the_placement_of_the_finest(untrained: Build, images: Tensor) -> None:
    network = untrained()
    placement = layer_placement(network, "pool,conv1", images[:1])
    assert placement == layer_placement(network, "conv1", images[:1])
    maps = Explainer("layer-cam", "pool,conv1")(network, images, torch.tensor([1, 0, 1]))
    assert maps.shape == (3, 28, 28)


@pytest.mark.parametrize("method", ["proposed", "layer-cam", "random?seed=2", "eigen-cam"])
def test_each_image_is_explained_for_its_class_independently_of_the_batch(
    untrained: Build, images: Tensor, method: str
) -> None:
    network, classes = untrained(), torch.tensor([5, 1, 5])
    maps = Explainer(method, "conv2")(network, images, classes)
    placement = layer_placement(network, "conv2", images[:1])
    for i, label in enumerate(classes.tolist()):
        result = class_maps(network, images[i : i + 1], "conv2", [method])
        values = torch.from_numpy(result.class_map(method, 0, label).values)[None]
        expected = resample_to_pixels(values, (28, 28), placement)[0]
        torch.testing.assert_close(maps[i], expected, atol=1e-6, rtol=1e-4)


@pytest.fixture(scope="module")
def batch(untrained: Build, images: Tensor) -> EvaluationBatch:
    return evaluation_batch(untrained(), images)


def test_confidences_are_softmax_of_the_logits(untrained: Build, images: Tensor) -> None:
    network = untrained(output_activation="sigmoid")
    classes = torch.tensor([3, 1, 4])
    expected = network(images).sigmoid().softmax(1)[torch.arange(3), classes]
    torch.testing.assert_close(confidences(network, images, classes), expected.detach())


@pytest.mark.parametrize("name", MEASURES)
def test_batch_equals_single_images(batch: EvaluationBatch, name: str) -> None:
    compute = MEASURES[name].compute
    alone = [
        compute(EvaluationBatch(batch.network, batch.images[i : i + 1], batch.classes[i : i + 1],
                        batch.maps[i : i + 1], batch.explain, batch.untrained))
        for i in range(len(batch.images))
    ]  # fmt: skip
    result = compute(batch)
    assert result.shape == (len(batch.images),)
    torch.testing.assert_close(result, torch.cat(alone), atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("name", MEASURES)
def test_values_are_in_range_finite_and_reproducible(batch: EvaluationBatch, name: str) -> None:
    measure = MEASURES[name]
    result = measure.compute(batch)
    low, high = measure.range
    assert result.isfinite().all()
    assert result.min() >= low - 1e-6
    assert high is None or result.max() <= high + 1e-6
    assert torch.equal(measure.compute(batch), result)


def test_every_measure_is_documented() -> None:
    for name, measure in MEASURES.items():
        assert measure.name == name
        assert measure.description.endswith(".")
        assert measure.source
        assert measure.formula
        assert measure.better_direction in ("higher", "lower")
    assert set(DEFAULT_MEASURES) <= set(MEASURES)


def test_methods_are_compared_with_random_maps_without_changing_the_network(
    untrained: Build, digits: Dataset
) -> None:
    network, initial_network = untrained(3).train(), untrained(4)
    initial_state = copy.deepcopy(network.state_dict())
    pixels, labels = list(digits.test.images[:4]), digits.test.labels[:4].tolist()
    methods = [Explainer("layer-cam", "conv2"), Explainer("random?seed=1", "conv2")]
    names = ["insertion", "untrained-ssim", "coherency"]
    scores = evaluate(network, pixels, labels, methods, names, untrained=initial_network)
    assert [(s.method, s.measure.name) for s in scores] == [
        (method.text, name) for method in methods for name in names
    ]
    for score in scores:
        assert score.count == 4
        assert score.layer == "conv2"
        assert score.difference.mean == pytest.approx(score.value.mean - score.random.mean)
        assert score.value.standard_error is not None
    assert network.training
    assert all(
        torch.equal(tensor, initial_state[key]) for key, tensor in network.state_dict().items()
    )
    assert evaluate(network, pixels, labels, methods, names, untrained=initial_network) == scores
    assert evaluate(network, pixels, labels, methods, names, 7, untrained=initial_network) != scores
    # The random score is the mean over random maps, each evaluated like any other method.
    random_methods = [
        Explainer(f"random?seed={seed}", "conv2") for seed in range(1, RANDOM_MAPS + 1)
    ]
    random_scores = evaluate(network, pixels, labels, random_methods, ["insertion"])
    mean = sum(score.value.mean for score in random_scores) / RANDOM_MAPS
    assert scores[0].random.mean == pytest.approx(mean, abs=1e-6)


def test_one_image_has_no_standard_error(untrained: Build, digits: Dataset) -> None:
    methods = [Explainer("grad-cam/centered", "pool")]
    (score,) = evaluate(untrained(), [digits.test.images[0]], [3], methods, ["complexity"])
    assert (score.count, score.value.standard_error) == (1, None)


@pytest.mark.parametrize(
    ("text", "layer", "measure", "refusal"),
    [
        ("no-cam", "conv2", "road", UnknownName),
        ("layer-cam", "conv9", "road", UnknownName),
        ("layer-cam", "conv2", "beauty", UnknownName),
        ("layer-cam?samples=3", "conv2", "road", InvalidValue),
    ],
)
def test_unknown_names_are_refused(
    untrained: Build,
    digits: Dataset,
    text: str,
    layer: str,
    measure: str,
    refusal: type[InvalidValue],
) -> None:
    with pytest.raises(refusal):
        evaluate(untrained(), [digits.test.images[0]], [3], [Explainer(text, layer)], [measure])
