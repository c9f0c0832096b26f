"""Classifiers of torchvision: their names, classes, gray images, sizes and frozen parts."""

import pytest
import torch
import torchvision
from torchvision.models import get_model, list_models

from service.core import checkpoints
from service.core.models.architecture import accepts_single_image, build_structure
from service.core.models.torchvision_classifiers import (
    CLASSIFIERS,
    MAXVIT_SIDE,
    MINIMUM_SIDES,
    TorchvisionClassifier,
)
from service.core.training import train
from tests.core.plain_modules import spec_of, trained_states

FAMILIES = {
    "alexnet": "classifier.6", "convnext_tiny": "classifier.2", "densenet121": "classifier",
    "efficientnet_b0": "classifier.1", "efficientnet_v2_s": "classifier.1", "googlenet": "fc",
    "inception_v3": "fc", "maxvit_t": "classifier.5", "mnasnet0_5": "classifier.1",
    "mobilenet_v2": "classifier.1", "mobilenet_v3_small": "classifier.3", "regnet_x_400mf": "fc",
    "resnet18": "fc", "resnext50_32x4d": "fc", "shufflenet_v2_x0_5": "fc",
    "squeezenet1_1": "classifier.1", "swin_t": "head", "swin_v2_t": "head",
    "vgg11": "classifier.6", "vit_b_32": "heads.head", "wide_resnet50_2": "fc",
}  # fmt: skip
"""One classifier of each family, with the module of its last layer."""


def classifier(name: str, **fields: object) -> TorchvisionClassifier:
    return TorchvisionClassifier(name=f"torchvision:{name}", **fields)


def build(name: str, shape: tuple[int, int, int], classes: int = 10, **fields: object):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return classifier(name, **fields).build(shape, classes).eval()


def test_names_are_those_of_torchvisions_classifiers():
    assert list(CLASSIFIERS) == sorted(list_models(module=torchvision.models))


@pytest.mark.parametrize("name", FAMILIES)
def test_last_layer_of_every_family_has_the_classes_of_the_dataset(name):
    network = build_structure(classifier(name, trainable="head"), (3, 224, 224), 7)
    classifier(name, trainable="head").freeze(network)
    head = network.get_submodule(FAMILIES[name])
    assert head.weight.shape[0] == 7
    trained = [key for key, weight in network.named_parameters() if weight.requires_grad]
    assert trained == [f"{FAMILIES[name]}.{part}" for part, _ in head.named_parameters()]


def test_network_is_torchvisions_own():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        theirs = get_model("resnet18", num_classes=10).eval()
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(build("resnet18", (3, 32, 32))(images), theirs(images))


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "googlenet"])
def test_gray_images_give_the_result_of_gray_rgb(name):
    gray, color = build(name, (1, 48, 48)), build(name, (3, 48, 48))
    # The last layers are drawn after the first convolution, from other random numbers.
    values = {key: value for key, value in color.state_dict().items() if value.dim() != 4}
    weights = gray.state_dict()
    first = next(key for key in weights if key.endswith("weight"))
    values |= {k: v for k, v in color.state_dict().items() if v.dim() == 4 and k != first}
    values[first] = color.state_dict()[first].sum(1, keepdim=True)
    gray.load_state_dict(values)
    images = torch.rand(2, 1, 48, 48)
    theirs = color(images.expand(-1, 3, -1, -1))
    assert torch.allclose(gray(images), theirs, atol=1e-4 * theirs.abs().max().item())


def test_untrained_gray_network_has_the_summed_weights_of_the_color_network():
    gray, color = build("resnet18", (1, 32, 32)), build("resnet18", (3, 32, 32))
    assert torch.equal(gray.conv1.weight, color.conv1.weight.sum(1, keepdim=True))


@pytest.mark.parametrize(
    ("name", "shape", "text"),
    [
        ("alexnet", (3, 28, 80), "at least 63 x 63 pixels"),
        ("vit_b_32", (3, 48, 64), "square images whose side is a multiple of 32"),
        ("maxvit_t", (3, 224, 256), "sides are multiples of 224"),
        ("resnet18", (2, 32, 32), "gray or color"),
    ],
)
def test_images_that_do_not_fit_are_refused(name, shape, text):
    with pytest.raises(ValueError, match=f"torchvision:{name} .*{text}"):
        classifier(name).build(shape, 3)


@pytest.mark.parametrize("name", [*FAMILIES, "squeezenet1_0"])
def test_smallest_images_that_a_family_accepts_pass_through_its_networks(name):
    side = MINIMUM_SIDES.get(classifier(name)._family, 1)
    side = {"vit_b_32": 32, "maxvit_t": MAXVIT_SIDE}.get(name, side)
    # On the meta device, where torch checks shapes and computes nothing.
    network = build_structure(classifier(name), (3, side, side), 2).to("meta").eval()
    assert network(torch.zeros(1, 3, side, side, device="meta")).shape == (1, 2)
    if side > 1:
        smaller = (3, side - 1, side - 1)
        assert classifier(name).unfit_reason(smaller) is not None
        if name in ("alexnet", "convnext_tiny", "densenet121", "inception_v3", "vgg11"):
            with pytest.raises(RuntimeError):
                network(torch.zeros(1, *smaller, device="meta"))


def test_vision_transformer_takes_the_size_of_the_images():
    assert build("vit_b_32", (3, 64, 64), 3)(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_head_alone_is_trained_and_frozen_parts_stay_as_they_are(few_digits):
    spec = spec_of(classifier("resnet18", trainable="head"), epochs=1)
    results = train(spec, few_digits)
    initial = {k: v.clone() for k, v in next(results).network.state_dict().items()}
    trained = next(results)
    changed_keys = {
        key
        for key, value in trained.network.state_dict().items()
        if not torch.equal(value, initial[key])
    }
    assert changed_keys == {"fc.weight", "fc.bias"}  # running means and counts of batches included
    assert len(trained.optimizer.state) == 2
    assert trained.network.layer1[0].conv1.weight.grad is None


def test_named_modules_are_trained_in_training_mode(few_digits):
    spec = spec_of(classifier("resnet18", trainable=["layer4.1", "fc"]), epochs=1)
    results = train(spec, few_digits)
    initial = {k: v.clone() for k, v in next(results).network.state_dict().items()}
    values = next(results).network.state_dict()
    changed_keys = {key for key in values if not torch.equal(values[key], initial[key])}
    assert {key.rpartition(".")[0].rpartition(".")[0] for key in changed_keys} == {"layer4.1", ""}
    assert "layer4.1.bn1.running_mean" in changed_keys


@pytest.mark.parametrize(
    ("trainable", "samples", "is_refused"),
    [("all", 41, True), ("all", 42, False), ("head", 41, False)],
)
def test_last_batch_of_one_image_is_refused_where_it_cannot_be_normalized(
    few_digits, trainable, samples, is_refused
):
    # Of images of 28 pixels, the last blocks of resnet18 have a single position.
    architecture = classifier("resnet18", trainable=trainable)
    results = train(spec_of(architecture, epochs=1, samples_per_epoch=samples), few_digits)
    if is_refused:
        with pytest.raises(ValueError, match="batch_size: the last batch of an epoch has one"):
            next(results)
    else:
        assert [result.epoch for result in results] == [0, 1]


def test_check_of_a_single_image_leaves_the_network_as_it_is():
    network = build("resnet18", (3, 64, 64))
    initial = {key: value.clone() for key, value in network.state_dict().items()}
    state = torch.get_rng_state()
    assert accepts_single_image(network, (3, 64, 64))
    assert all(torch.equal(value, initial[key]) for key, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_unknown_module_is_refused_with_those_of_the_network():
    architecture = classifier("resnet18", trainable=["layer5"])
    network = build_structure(architecture, (3, 32, 32), 3)
    with pytest.raises(ValueError, match=r"no parameters in layer5; its modules are conv1, bn1"):
        architecture.freeze(network)


def test_module_is_not_selected_by_a_part_of_its_name():
    architecture = classifier("densenet121", trainable=["features.denseblock1.denselayer1"])
    network = build_structure(architecture, (3, 32, 32), 3)
    architecture.freeze(network)
    trained = [key for key, weight in network.named_parameters() if weight.requires_grad]
    assert trained
    assert all(key.startswith("features.denseblock1.denselayer1.") for key in trained)


def test_run_with_a_trained_head_resumes_exactly(few_digits):
    spec = spec_of(classifier("mobilenet_v3_small", trainable="head"))
    uninterrupted = trained_states(spec, few_digits)
    resumed = trained_states(spec, few_digits, resume_from=uninterrupted[1])
    assert resumed == uninterrupted[2:]


@pytest.mark.parametrize("name", ["resnet18", "regnet_x_400mf", "swin_t"])
def test_checkpoint_contains_the_whole_network(name, images):
    spec = spec_of(classifier(name))
    network = build(name, (1, 28, 28))
    data = checkpoints.encode(network, checkpoints.CheckpointHeader.for_epoch(spec, 0))
    decoded, header = checkpoints.decode(data)
    assert header.architecture == spec.architecture
    assert torch.allclose(decoded(images), network(images), atol=1e-5)
