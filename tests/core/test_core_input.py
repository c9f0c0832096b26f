"""The input of a network: its sizes against torchvision's, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torchvision.transforms import v2

from service.core.datasets import DATASETS
from service.core.datasets.resized import seen_pixels
from service.core.input import InputSpec
from service.core.spec import RunSpec

RGB = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.3]}
SHAPES = [(30, 47), (47, 30), (40, 40), (33, 101)]


def photo(height: int, width: int) -> torch.Tensor:
    """Random pixels uint8 (3, H, W) with a gradient, so that shifts change them."""
    generator = np.random.default_rng(height * 1000 + width)
    noise = generator.integers(0, 100, (height, width, 3))
    slope = np.linspace(0, 155, width)[None, :, None]
    return torch.from_numpy((noise + slope).astype(np.uint8)).permute(2, 0, 1).contiguous()


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_shorter_side_and_center_crop_are_torchvisions(height: int, width: int):
    image = photo(height, width)
    spec = InputSpec.model_validate(
        {"resize": {"mode": "shorter", "size": 24}, "crop": {"size": 21}, **RGB}
    )
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    transform = v2.Compose([v2.Resize(24), v2.CenterCrop(21)])
    expected = np.asarray(transform(picture)).transpose(2, 0, 1)
    assert np.array_equal(seen_pixels(image, spec), expected)


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_resizing_without_antialias_samples_like_interpolate(height: int, width: int):
    image = photo(height, width)
    spec = InputSpec.model_validate({"resize": {"size": [17, 23], "antialias": False}, **RGB})
    expected = torch.nn.functional.interpolate(
        image[None].float(), (17, 23), mode="bilinear", align_corners=False
    )[0]
    difference = torch.from_numpy(seen_pixels(image, spec)).float() - expected
    assert -1.001 < difference.min() <= difference.max() < 0.001  # Pillow truncates to levels


def test_default_input_of_mnist_and_digits_is_the_images_as_they_are():
    for name in ("mnist", "digits"):
        spec = RunSpec(dataset=name)
        assert spec.input.image_shape == (1, 28, 28)
        assert spec.input.is_unnormalized
        assert spec.source is DATASETS[name]


def test_digits_in_color_and_another_size_are_what_the_network_sees(digits):
    values = {"dataset": "digits", "input": {"resize": {"size": 32}, **RGB}}
    spec = RunSpec.model_validate(values)
    assert spec.source.image_shape == (3, 32, 32)
    data = spec.source.load(None, False)
    assert data.train.images.shape == (1500, 3, 32, 32)
    image = digits.test.images[7].squeeze(0).numpy()
    expected = Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR)
    for channel in data.test.images[7].numpy():
        # Converted to color before it is resized, so that the channels are equal.
        assert np.array_equal(channel, np.asarray(expected))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"resize": {"mode": "shorter", "size": 8}}, "crop"),
        ({"resize": {"size": 8}, "crop": {"size": 9}}, "larger than the resized image"),
        ({"resize": {"size": [8, 9]}, "crop": {"size": [9, 8]}}, "larger than the resized image"),
        ({"resize": {"mode": "shorter", "size": [8, 9]}, "crop": {"size": 8}}, "one side"),
        ({"resize": {"size": 0}}, "greater than or equal to 1"),
        ({"resize": {"size": 4096}}, "1024"),
        ({"resize": {"size": True}}, "valid list"),
        ({"resize": {"size": 8}, "mean": [0.5], "std": [0.2]}, "3 values, one per channel"),
        ({"resize": {"size": 8}, "std": [0.2, 0.0, 0.2]}, "0.001"),
        ({"resize": {"size": 8}, "mean": [124.0, 0.0, 0.2]}, "less than or equal to 1"),
        ({"resize": {"size": 8}, "baseline": "white"}, "black"),
    ],
    ids=str,
)
def test_inconsistent_input_is_refused(values: dict, text: str):
    with pytest.raises(ValidationError) as refusal:
        InputSpec.model_validate(RGB | values)
    assert text in str(refusal.value)


def test_square_sizes_are_written_as_one_number():
    spec = InputSpec.model_validate({"resize": {"size": [9, 12]}, "crop": {"size": 9}, **RGB})
    values = spec.model_dump(mode="json")
    assert (values["resize"]["size"], values["crop"]["size"]) == ([9, 12], 9)
    assert InputSpec.model_validate(values) == spec
