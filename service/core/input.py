"""What a network sees of an image: channels, resizing, cropping and normalization."""

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator
from pydantic_core import PydanticCustomError

from service.core.parameters import Parameters

MAX_SIDE_PIXELS = 1024
CHANNEL_COUNTS = {"gray": 1, "rgb": 3}

Side = Annotated[int, Field(ge=1, le=MAX_SIDE_PIXELS)]
Size = Annotated[
    list[Side],
    Field(
        min_length=1,
        max_length=2,
        json_schema_extra={"description": "A side in pixels, or [height, width]."},
    ),
    BeforeValidator(lambda value: [value] if type(value) is int else value),
    PlainSerializer(lambda size: size[0] if len(size) == 1 else size),
]
Fractions = Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=1, max_length=3)]
Deviations = Annotated[
    list[Annotated[float, Field(ge=1e-3, le=1)]], Field(min_length=1, max_length=3)
]


class Resize(Parameters):
    """How an image is resized, before it is cropped."""

    mode: Literal["shorter", "exact"] = "exact"
    """`exact`: to the size, whatever the aspect ratio; `shorter`: the shorter side to the size."""
    size: Size
    """Pixels: one side of a square, or [height, width]; of `shorter`, the shorter side."""
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    """How pixels are interpolated."""
    antialias: bool = True
    """Average the pixels that a smaller image cannot hold. Not with `nearest`."""

    @model_validator(mode="after")
    def _has_one_shorter_side(self) -> Self:
        if self.mode == "shorter" and len(self.size) != 1:
            raise PydanticCustomError("resize_side", "size must be one side for mode shorter")
        return self

    def target_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of an image of that size after resizing."""
        if self.mode == "exact":
            return self.size[0], self.size[-1]
        side, shorter = self.size[0], min(height, width)
        longer = max(side, int(side * max(height, width) / shorter))  # as torchvision rounds
        return (side, longer) if height <= width else (longer, side)


class Crop(Parameters):
    """Which part of the resized image the network sees."""

    mode: Literal["center"] = "center"
    """Where the part lies."""
    size: Size
    """Pixels: one side of a square, or [height, width]."""


class InputSpec(Parameters):
    """The pixels that a network sees, and how levels 0..255 become its input.

    Input is (level / 255 - mean) / std by channel.
    """

    channels: Literal["rgb", "gray"] = "rgb"
    """Color channels."""
    resize: Resize
    """How images are resized."""
    crop: Crop | None = None
    """The part of the resized image that is seen; null: all of it."""
    mean: Fractions
    """Mean level by channel, 0..1."""
    std: Deviations
    """Standard deviation of the levels by channel, up to 1."""
    baseline: Literal["mean", "blur", "black"] = "mean"
    """What measures and methods replace removed pixels by."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if not len(self.mean) == len(self.std) == CHANNEL_COUNTS[self.channels]:
            raise PydanticCustomError(
                "channel_count",
                "mean and std must have {count} values, one per channel",
                {"count": CHANNEL_COUNTS[self.channels]},
            )
        if self.crop is None:
            if self.resize.mode == "shorter":
                raise PydanticCustomError(
                    "crop_required", "mode shorter requires a crop: images differ in shape"
                )
            return self
        smallest = self.resize.target_size(1, 1)
        if self.crop.size[0] > smallest[0] or self.crop.size[-1] > smallest[1]:
            raise PydanticCustomError("crop_size", "crop must not be larger than the resized image")
        return self

    @property
    def channel_count(self) -> int:
        """1 or 3."""
        return CHANNEL_COUNTS[self.channels]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape (D, H, W) of the images that the network sees."""
        size = self.resize.size if self.crop is None else self.crop.size
        return self.channel_count, size[0], size[-1]

    @property
    def is_plain(self) -> bool:
        """Whether it is that of `unnormalized_input`."""
        _, height, width = self.image_shape
        return self == unnormalized_input(self.channels, height, width)

    def has_pixels_of(self, other: "InputSpec") -> bool:
        """Whether both see the same pixels, whatever their normalization."""
        return (self.channels, self.resize, self.crop) == (
            other.channels,
            other.resize,
            other.crop,
        )

    @property
    def is_unnormalized(self) -> bool:
        """Whether the input is level / 255."""
        return not any(self.mean) and all(value == 1 for value in self.std)

    def crop_box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, bottom and right of the crop in a resized image of that size."""
        _, crop_height, crop_width = self.image_shape
        top, left = round((height - crop_height) / 2), round((width - crop_width) / 2)
        return top, left, top + crop_height, left + crop_width

    @property
    def resize_key(self) -> str:
        """Hash of what the resized pixels depend on, 12 hexadecimal digits."""
        return _key({"channels": self.channels, "resize": self.resize.model_dump(mode="json")})

    @property
    def pixels_key(self) -> str:
        """Hash of what the seen pixels depend on, 12 hexadecimal digits."""
        crop = self.crop and self.crop.model_dump(mode="json")
        return _key({"resized": self.resize_key, "crop": crop})


def unnormalized_input(channels: Literal["rgb", "gray"], height: int, width: int) -> InputSpec:
    """Images of that size as they are, levels scaled to 0..1, with black as baseline."""
    count = CHANNEL_COUNTS[channels]
    size = [height] if height == width else [height, width]
    return InputSpec(
        channels=channels,
        resize=Resize(size=size),
        mean=[0.0] * count,
        std=[1.0] * count,
        baseline="black",
    )


def _key(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
