"""A photo explained by a module: probabilities, and maps as plain autograd computes them."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from service.core.input import Crop, InputSpec, Resize
from service.core.photo import explain_photo
from service.core.png import encode_png
from service.core.render.photo import mark_crop, render_comparison, render_overlays
from service.errors import InvalidValue

SPEC = InputSpec(
    resize=Resize(mode="shorter", size=[40]),
    crop=Crop(size=[32]),
    mean=[0.5, 0.4, 0.3],
    std=[0.2, 0.3, 0.4],
)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU())
        self.hidden = nn.Linear(6, 8)
        self.output = nn.Linear(8, 4)

    def head(self, activations):
        return self.output(torch.tanh(self.hidden(activations.mean((2, 3)))))

    def forward(self, images):
        return self.head(self.features(images))


@pytest.fixture(scope="module")
def module():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return Small().eval()


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32), np.uint8)


def network_input(pixels):
    mean, std = (np.array(values).reshape(3, 1, 1) for values in (SPEC.mean, SPEC.std))
    return torch.from_numpy((pixels / 255 - mean) / std).float().unsqueeze(0)


def test_maps_are_those_of_autograd_on_the_module(module, pixels):
    explanation = explain_photo(module, pixels, SPEC, classes=[3, 1], layer="features")
    images = network_input(pixels)
    expected_probabilities = module(images).softmax(1)[0].detach().numpy()
    assert np.allclose(explanation.probabilities, expected_probabilities, atol=1e-6)
    activations = module.features(images).detach().requires_grad_()
    assert list(explanation.maps) == [3, 1]
    for index, class_map in explanation.maps.items():
        (gradient,) = torch.autograd.grad(module.head(activations)[0, index], activations)
        expected = (gradient.mean((2, 3), keepdim=True) * activations).sum(1)[0].detach().numpy()
        assert np.abs(class_map.signed - expected).max() <= 1e-5 * np.abs(expected).max()


def test_two_most_probable_classes_are_explained_by_default(module, pixels):
    explanation = explain_photo(module, pixels, SPEC)
    order = np.argsort(-module(network_input(pixels))[0].detach().numpy())
    assert list(explanation.maps) == order[:2].tolist()
    assert explanation.top_classes(3) == order[:3].tolist()
    assert explanation.layer == "features"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"classes": [4]}, "class"),
        ({"layer": "head"}, "layer"),
        ({"method": "grad-cam/unknown"}, "target"),
        ({"method": "grad-cam/contrast:1", "classes": [0, 1]}, "contrast_class"),
        ({"method": "occlusion", "layer": "features"}, "layer"),
    ],
)
def test_error_names_the_argument(module, pixels, arguments, field):
    with pytest.raises(InvalidValue) as refusal:
        explain_photo(module, pixels, SPEC, **arguments)
    assert refusal.value.field == field


def test_module_that_cannot_be_exported_is_refused(pixels):
    class DataDependent(Small):
        def forward(self, images):
            return super().forward(images) * (1 if images.sum() > 0 else 2)

    with pytest.raises(InvalidValue) as refusal:
        explain_photo(DataDependent().eval(), pixels, SPEC)
    assert refusal.value.field == "network"


def decode_png(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_photo_is_dark_outside_of_what_the_network_sees():
    photo = encode_png(np.full((80, 120, 3), 200, np.uint8))
    picture = decode_png(mark_crop(photo, SPEC, 160))
    # Resized to 40 x 60, of which 32 x 32 are seen: on 160 x 240, rows 16..144, columns 56..184.
    assert picture.shape == (160, 240, 3)
    assert (picture[17:143, 57:183] == 200).all()
    assert (picture[:16] == 110).all()
    assert (picture[:, :56] == 110).all()
    assert (picture[16, 56:184] == 255).all()


def test_overlays_stand_beside_the_photo_under_a_title(module, pixels):
    explanation = explain_photo(module, pixels, SPEC)
    overlays = render_overlays(explanation, 64)
    assert [decode_png(overlay).shape for overlay in overlays.values()] == [(64, 64, 3)] * 2
    photo = encode_png(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    captions = {str(index): overlay for index, overlay in overlays.items()}
    page = decode_png(render_comparison(photo, SPEC, captions, "small: proposed", 64))
    assert page.shape[1] >= 3 * 64
    for overlay in overlays.values():
        windows = np.lib.stride_tricks.sliding_window_view(page, (1, 64, 3))[:, :, 0, 0]
        assert (windows == decode_png(overlay)[30]).all((2, 3)).any()
