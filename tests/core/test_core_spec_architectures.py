"""The architecture of a spec: its variants, their parameters, and images that do not fit."""

import pytest
import torch

from service.core.models import MODELS, parse_architecture
from service.core.spec import RunSpec
from tests.core.test_core_spec import refusals


def test_default_architecture_is_kept_if_only_a_parameter_is_set():
    architecture = RunSpec.model_validate({"architecture": {"kernel_size": 5}}).architecture
    assert (architecture.name, architecture.kernel_size) == ("table1", 5)


@pytest.mark.parametrize("name", ["table1", "lenet5", "resnet20", "torchvision:resnet18"])
def test_every_architecture_builds_a_classifier(name):
    architecture = parse_architecture({"name": name})
    assert type(architecture) is MODELS[name.partition(":")[0]]
    network = architecture.build((1, 28, 28), 10)
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "side", "text"),
    [
        ("table1", 5, "with kernel_size 3 needs images of at least 6 x 6 pixels"),
        ("lenet5", 11, "needs images of at least 12 x 12 pixels"),
        ("torchvision:alexnet", 28, "needs images of at least 63 x 63 pixels"),
        ("torchvision:vit_b_16", 28, "square images whose side is a multiple of 16"),
    ],
)
def test_architecture_that_cannot_process_the_input_is_refused(name, side, text):
    image_input = {"channels": "gray", "resize": {"size": side}, "mean": [0.5], "std": [0.5]}
    fields = {"input": image_input, "architecture": {"name": name}}
    ((location, message),) = refusals(fields).items()
    assert location == f"architecture.{name.partition(':')[0]}.name"
    assert message.startswith(f"{name} ")
    assert text in message
    assert message.endswith(f"the input has {side} x {side}")


def test_architecture_is_accepted_with_an_input_that_fits():
    image_input = {"channels": "rgb", "resize": {"size": 32}, "mean": [0.5] * 3, "std": [0.5] * 3}
    fields = {"input": image_input, "architecture": {"name": "torchvision:vit_b_16"}}
    assert RunSpec.model_validate(fields).architecture.name == "torchvision:vit_b_16"


@pytest.mark.parametrize(
    ("fields", "name", "text"),
    [
        ({"name": "torchvision:resnet19"}, "name", "resnet18, resnet34"),
        ({"name": "torchvision:"}, "name", "resnet18"),
        ({"weights": "imagenet"}, "weights", "none, default or file:<name>"),
        ({"weights": "file:../secret"}, "weights", "none, default or file:<name>"),
        ({"weights": "file:.hidden"}, "weights", "none, default or file:<name>"),
        ({"weights": "file:a/b"}, "weights", "none, default or file:<name>"),
        ({"trainable": "body"}, "trainable", "all, head or a list of 1 to 100"),
        ({"trainable": []}, "trainable", "all, head or a list of 1 to 100"),
        ({"trainable": ["fc"] * 101}, "trainable", "all, head or a list of 1 to 100"),
        ({"trainable": ["fc "]}, "trainable", "all, head or a list of 1 to 100"),
        ({"trainable": [3]}, "trainable", "all, head or a list of 1 to 100"),
        ({"trainable": True}, "trainable", "all, head or a list of 1 to 100"),
        ({"depth": 3}, "depth", "not permitted"),
    ],
    ids=str,
)
def test_invalid_parameters_of_torchvision_are_refused(fields, name, text):
    architecture = {"name": "torchvision:resnet18"} | fields
    ((location, message),) = refusals({"architecture": architecture}).items()
    assert location == f"architecture.torchvision.{name}"
    assert text in message


def test_parameters_of_torchvision_are_accepted():
    fields = {"weights": "file:best-2.pth", "trainable": ["layer4.1", "fc"]}
    architecture = parse_architecture({"name": "torchvision:resnet18"} | fields)
    assert architecture.model_dump() == {"name": "torchvision:resnet18"} | fields


def test_parameters_of_another_architecture_are_refused():
    fields = {"architecture": {"name": "lenet5", "kernel_size": 5}}
    ((location, message),) = refusals(fields).items()
    assert location == "architecture.lenet5.kernel_size"
    assert "not permitted" in message
