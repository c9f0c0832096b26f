"""Augmented images are those of torchvision's v2 functions, with a draw for each image."""

import pytest
import torch
from torchvision.transforms.v2 import functional

from service.core.augmentation import Augmentation

SIDES = (11, 16)


@pytest.fixture
def image() -> torch.Tensor:
    """One image uint8 (3, 11, 16) without two equal windows."""
    return torch.arange(1, 3 * 11 * 16 + 1).remainder(251).to(torch.uint8).view(3, *SIDES)


def augmented(image: torch.Tensor, count: int, background: int = 0, **fields) -> torch.Tensor:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        copies = image.expand(count, -1, -1, -1)
        return Augmentation(**fields).apply(copies, background)


def test_no_change_by_default(image):
    images = image.expand(4, -1, -1, -1)
    state = torch.get_rng_state()
    assert Augmentation().apply(images) is images
    assert torch.equal(torch.get_rng_state(), state)


def test_flip_mirrors_images_with_its_probability(image):
    flipped = functional.horizontal_flip(image)
    results = augmented(image, 400, flip_probability=0.25)
    count = sum(torch.equal(result, flipped) for result in results)
    assert sum(torch.equal(result, image) for result in results) == 400 - count
    assert 70 <= count <= 130  # 100 expected, standard deviation 8.7
    assert all(
        torch.equal(result, flipped) for result in augmented(image, 20, flip_probability=1.0)
    )


def test_shifts_are_affine_translations_of_whole_pixels(image):
    results = augmented(image, 400, background=7, shift_fraction=0.2)
    expected = {
        (rows, columns): functional.affine(
            image, angle=0, translate=[columns, rows], scale=1, shear=[0, 0], fill=7
        )
        for rows in range(-2, 3)  # 0.2 of 11 pixels is 2.2
        for columns in range(-3, 4)  # 0.2 of 16 pixels is 3.2
    }
    shifts = [
        next(shift for shift, shifted in expected.items() if torch.equal(result, shifted))
        for result in results
    ]
    assert len(set(shifts)) == len(expected) == 35  # each image has a draw of its own


def test_crops_are_windows_of_the_padded_image(image):
    padded = functional.pad(image, [2, 2], fill=9)
    results = augmented(image, 300, background=9, crop_padding=2)
    expected = {
        (top, left): functional.crop(padded, top, left, *SIDES)
        for top in range(5)
        for left in range(5)
    }
    windows = [
        next(corner for corner, window in expected.items() if torch.equal(result, window))
        for result in results
    ]
    assert len(set(windows)) == 25


def test_augmentation_leaves_its_input_unchanged(image):
    images = image.repeat(5, 1, 1, 1)
    Augmentation(flip_probability=1.0, shift_fraction=0.3, crop_padding=3).apply(images)
    assert torch.equal(images, image.repeat(5, 1, 1, 1))
