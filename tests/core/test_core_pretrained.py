"""Classifiers of torchvision as they are: what they see of a photo, their classes and weights."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import get_model, get_model_weights

from service.core.models.pretrained import load_classifier, published_input
from service.core.models.torchvision_classifiers import CLASSIFIERS, TorchvisionClassifier
from service.core.preprocessing import to_network_input
from service.core.resizing import crop_pixels, resize_picture, to_channels_first
from service.errors import WeightsUnavailable

SMALLEST = "squeezenet1_1"


def photo(height: int, width: int) -> Image.Image:
    levels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(levels)


def load(weights, folder=None):
    architecture = TorchvisionClassifier(name=f"torchvision:{SMALLEST}", weights=weights)
    return load_classifier(architecture, folder)


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b3", "vit_b_16", "inception_v3"])
@pytest.mark.parametrize("shape", [(300, 451), (640, 280)])
def test_network_sees_the_pixels_of_torchvisions_transforms(name, shape):
    transforms = get_model_weights(name).DEFAULT.transforms()
    spec = published_input(transforms)
    pixels = crop_pixels(to_channels_first(resize_picture(photo(*shape), spec.resize)), spec)
    ours = to_network_input(torch.from_numpy(pixels.copy()).unsqueeze(0), spec)
    assert torch.allclose(ours[0], transforms(photo(*shape)), atol=1e-5)


def test_input_of_every_classifier_is_known():
    for name in CLASSIFIERS:
        transforms = get_model_weights(name).DEFAULT.transforms()
        (side,) = transforms.crop_size
        assert published_input(transforms).image_shape == (3, side, side)


def test_random_weights_have_the_classes_of_torchvision_without_their_names():
    classifier = load("none")
    assert classifier.class_names == tuple(str(index) for index in range(1000))
    assert not classifier.module.training
    repeated = load("none").module.state_dict()
    assert all(torch.equal(repeated[k], v) for k, v in classifier.module.state_dict().items())


def test_file_of_weights_determines_the_number_of_classes(tmp_path):
    theirs = get_model(SMALLEST, num_classes=3).eval()
    torch.save(theirs.state_dict(), tmp_path / "three.pt")
    classifier = load("file:three.pt", tmp_path)
    assert classifier.class_names == ("0", "1", "2")
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(classifier.module(images), theirs(images))


def test_file_without_the_last_layer_is_refused(tmp_path):
    state = get_model(SMALLEST, num_classes=3).state_dict()
    torch.save({k: v for k, v in state.items() if "classifier" not in k}, tmp_path / "body.pt")
    with pytest.raises(WeightsUnavailable, match=r"no last layer .*classifier\.1\.weight"):
        load("file:body.pt", tmp_path)
