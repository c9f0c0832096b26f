"""Single images: the probes of a run, and conversion to PNG and back."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from service.core.datasets.dataset import ImageReference
from service.core.images import from_png, probe_images, select_image, to_png
from service.core.preprocessing import to_network_input
from service.core.spec import Probes


def references(probes: list) -> list[str]:
    return [str(probe.reference) for probe in probes]


def test_probes_are_the_first_test_images_of_each_class(digits):
    probes = probe_images(digits, Probes(per_class=2))
    assert [probe.label for probe in probes] == [label for label in range(10) for _ in range(2)]
    labels = digits.test.labels.tolist()
    for probe in probes:
        earlier = labels[: probe.reference.index].count(probe.label)
        assert earlier == [p.reference for p in probes if p.label == probe.label].index(
            probe.reference
        )
        assert torch.equal(probe.pixels, digits.test.images[probe.reference.index])


def test_listed_images_follow_in_order_without_duplicates(digits):
    first = references(probe_images(digits, Probes(per_class=1)))
    image_list = ["train:5", "test:296", first[3], "train:0", "train:5"]
    probes = probe_images(digits, Probes(per_class=1, images=image_list))
    assert references(probes) == [*first, "train:5", "test:296", "train:0"]
    assert probes[10].label == digits.train.labels[5]
    assert torch.equal(probes[10].pixels, digits.train.images[5])


def test_probes_can_be_listed_images_only(digits):
    probes = probe_images(digits, Probes(per_class=0, images=["test:3", "test:1"]))
    assert references(probes) == ["test:3", "test:1"]


def test_image_is_selected_with_its_label(digits):
    image = select_image(digits, ImageReference("train", 8))
    assert torch.equal(image.pixels, digits.train.images[8])
    assert image.label == digits.train.labels[8]


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(28, 28), (1, 1), (5, 9)])
def test_png_preserves_every_pixel(depth, height, width):
    pixels = torch.randint(0, 256, (depth, height, width)).to(torch.uint8)
    png = to_png(pixels)
    assert torch.equal(from_png(png), pixels)
    with Image.open(io.BytesIO(png)) as image:
        assert image.mode == {1: "L", 3: "RGB"}[depth]
        theirs = np.asarray(image).reshape(height, width, depth)
    assert np.array_equal(theirs, pixels.permute(1, 2, 0).numpy())


def test_network_input_is_scaled_to_0_to_1():
    pixels = torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8)
    assert torch.allclose(to_network_input(pixels), torch.tensor([[[[0.0, 0.2, 1.0]]]]))
    assert pixels.tolist() == [[[[0, 51, 255]]]]
