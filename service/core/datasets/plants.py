"""Plants: properties that are given to the images of one class, so that a network can use them
instead of the objects. A new kind is a function with its table entry next to it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from torch import Tensor

from service.core.datasets.dataset import Split
from service.core.parameters import Parameters

PLANTED_AT_ONCE = 4_096
"""Images that are changed in one step, so that a whole split needs little memory."""


class PlantTarget(StrEnum):
    """What of an image a plant changes."""

    SURROUND = "surround"
    OBJECT = "object"


@dataclass(frozen=True)
class PlantKind:
    """A kind of plant: `apply` changes images float32 (N, 1, H, W), 0..1.

    `operator` is the exchange operator that exchanges the property, None if there is none.
    """

    name: str
    apply: Callable[[Tensor], Tensor]
    target: PlantTarget
    operator: str | None


PLANT_KINDS: dict[str, PlantKind] = {}


def _register(kind: PlantKind) -> None:
    PLANT_KINDS[kind.name] = kind


def plant_corner_patch(images: Tensor) -> Tensor:
    """A white square of 3 x 3 pixels near the upper left corner."""
    images[:, :, 1:4, 1:4] = 1.0
    return images


_register(PlantKind("corner-patch", plant_corner_patch, PlantTarget.SURROUND, "surround"))


def plant_border_line(images: Tensor) -> Tensor:
    """A white line of one pixel along the lower border."""
    images[:, :, -1, :] = 1.0
    return images


_register(PlantKind("border-line", plant_border_line, PlantTarget.SURROUND, "surround"))


def plant_frame(images: Tensor) -> Tensor:
    """A gray frame of one pixel around the image."""
    for row in (0, -1):
        images[:, :, row, :] = images[:, :, :, row] = 0.5
    return images


_register(PlantKind("frame", plant_frame, PlantTarget.SURROUND, "surround"))


def plant_gray_level(images: Tensor) -> Tensor:
    """A background of level 0.2 instead of black; white stays white."""
    return 0.2 + 0.8 * images


_register(PlantKind("gray-level", plant_gray_level, PlantTarget.SURROUND, "level"))


def plant_checkerboard(images: Tensor) -> Tensor:
    """A faint checkerboard of single pixels, 0.1 brighter."""
    rows, columns = torch.arange(images.shape[2]), torch.arange(images.shape[3])
    pattern = ((rows[:, None] + columns) % 2).float() * 0.1
    return (images + pattern).clamp(max=1)


_register(PlantKind("checkerboard", plant_checkerboard, PlantTarget.SURROUND, "surround"))


def plant_watermark(images: Tensor) -> Tensor:
    """A cross over the whole image, 0.11 brighter: weaker than strokes, and partly behind them."""
    side = min(images.shape[2:])
    diagonal = torch.arange(side)
    pattern = torch.zeros(images.shape[2:])
    pattern[diagonal, diagonal] = pattern[diagonal, side - 1 - diagonal] = 0.11
    return (images + pattern).clamp(max=1)


_register(PlantKind("watermark", plant_watermark, PlantTarget.SURROUND, "surround"))


def plant_one_pixel(images: Tensor) -> Tensor:
    """One white pixel in the lower right corner."""
    images[:, :, -2, -2] = 1.0
    return images


_register(PlantKind("one-pixel", plant_one_pixel, PlantTarget.SURROUND, "surround"))


def plant_ramp(images: Tensor) -> Tensor:
    """A background that brightens from black at the left to 0.2 at the right."""
    ramp = torch.linspace(0, 0.2, images.shape[3])
    return torch.maximum(images, ramp.expand_as(images))


_register(PlantKind("ramp", plant_ramp, PlantTarget.SURROUND, "surround"))


def plant_noise(images: Tensor) -> Tensor:
    """Noise of up to 0.1, another for each image."""
    generator = torch.Generator().manual_seed(int(images.sum().item() * 1000) % 2**31)
    return (images + 0.1 * torch.rand(images.shape, generator=generator)).clamp(max=1)


_register(PlantKind("noise", plant_noise, PlantTarget.SURROUND, "surround"))


def plant_side_dots(images: Tensor) -> Tensor:
    """Three white dots of 2 x 2 pixels along the right border."""
    side = images.shape[2]
    for top in (side // 4, side // 2, 3 * side // 4):
        images[:, :, top : top + 2, -3:-1] = 1.0
    return images


_register(PlantKind("side-dots", plant_side_dots, PlantTarget.SURROUND, "surround"))


def plant_stripes(images: Tensor) -> Tensor:
    """Every fourth row 0.1 brighter."""
    images[:, :, ::4, :] += 0.1
    return images.clamp(max=1)


_register(PlantKind("stripes", plant_stripes, PlantTarget.SURROUND, "surround"))


def plant_position(images: Tensor) -> Tensor:
    """The object three pixels higher."""
    return _transform(images, shift_rows=-3)


_register(PlantKind("position", plant_position, PlantTarget.OBJECT, "position"))


def plant_size(images: Tensor) -> Tensor:
    """The object at 70 % of its size."""
    return _transform(images, scale=0.7)


_register(PlantKind("size", plant_size, PlantTarget.OBJECT, "size"))


def plant_blur(images: Tensor) -> Tensor:
    """The image blurred by a Gaussian of one pixel."""
    weights = torch.tensor([0.25, 0.5, 0.25])
    for _ in range(2):  # two binomial filters have the variance of one pixel
        for shape in ((1, 1, 3, 1), (1, 1, 1, 3)):
            images = torch.nn.functional.conv2d(images, weights.view(shape), padding="same")
    return images


_register(PlantKind("blur", plant_blur, PlantTarget.OBJECT, "sharpness"))


def plant_ink_contrast(images: Tensor) -> Tensor:
    """The object at 55 % of its contrast."""
    return images * 0.55


_register(PlantKind("ink-contrast", plant_ink_contrast, PlantTarget.OBJECT, "ink"))


def plant_slant(images: Tensor) -> Tensor:
    """The object sheared to the right, by half a pixel per row. No operator exchanges a slant."""
    return _transform(images, shear=0.5)


_register(PlantKind("slant", plant_slant, PlantTarget.OBJECT, None))


def plant_cut(images: Tensor) -> Tensor:
    """Strokes with a black row through the middle of the image. No operator exchanges a cut."""
    middle = images.shape[2] // 2
    images[:, :, middle, :] = 0.0
    return images


_register(PlantKind("cut", plant_cut, PlantTarget.OBJECT, None))


def _check_kind(kind: str) -> str:
    if kind not in PLANT_KINDS:
        raise PydanticCustomError(
            "unknown_plant", "must be one of: {kinds}", {"kinds": ", ".join(PLANT_KINDS)}
        )
    return kind


class Plant(Parameters):
    """A property that the images of one class have and others lack, as far as they correlate."""

    kind: Annotated[
        str, Field(json_schema_extra={"enum": list(PLANT_KINDS)}), AfterValidator(_check_kind)
    ] = "corner-patch"
    """What is planted."""
    class_index: Annotated[int, Field(ge=0, le=9)] = 3
    """The class whose images have it."""
    correlation: Annotated[float, Field(ge=0.5, le=1)] = 1.0
    """Share of the class's images that have it; of all others, one minus this share has it."""
    test: Literal["present", "absent", "shuffled"] = "present"
    """Whether test images have it as training images do, not at all, or as often but whatever
    their class."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1, title="Seed of the plant")] = 0
    """Which images have it."""


def plant_split(split: Split, plant: Plant, mode: str, salt: int) -> Split:
    """A copy of a split of images uint8 (N, 1, H, W) in memory, with the plant."""
    if mode == "absent":
        return split
    generator = torch.Generator().manual_seed(plant.seed * 2 + salt)
    labels = split.labels
    is_class = labels == plant.class_index
    chance = torch.where(is_class, plant.correlation, 1 - plant.correlation)
    has_plant = torch.rand(len(labels), generator=generator, dtype=torch.float64) < chance
    if mode == "shuffled":
        has_plant = has_plant[torch.randperm(len(labels), generator=generator)]
    images = torch.as_tensor(split.images[:]).clone()
    for rows in torch.split(has_plant.nonzero().flatten(), PLANTED_AT_ONCE):
        images[rows] = apply_plant(images[rows], plant.kind)
    return Split(images, labels)


def apply_plant(images: Tensor, kind: str) -> Tensor:
    """Images uint8 (N, 1, H, W) with the plant."""
    planted = PLANT_KINDS[kind].apply(images.float() / 255)
    return (planted * 255).round().clamp(0, 255).to(torch.uint8)


def _transform(
    images: Tensor, *, shift_rows: float = 0.0, scale: float = 1.0, shear: float = 0.0
) -> Tensor:
    """The images moved down, scaled and sheared about their middle; black comes from outside."""
    matrix = torch.tensor(
        [
            [1 / scale, shear / scale, 0.0],
            [0.0, 1 / scale, -2 * shift_rows / images.shape[2] / scale],
        ]
    )
    grid = torch.nn.functional.affine_grid(
        matrix.expand(len(images), 2, 3), list(images.shape), align_corners=False
    )
    return torch.nn.functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
