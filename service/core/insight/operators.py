"""Exchange operators: each gives an image one property of another one, and keeps its object.

A new operator is a function with its table entry next to it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor

from service.core.insight.objects import ObjectImages
from service.core.preprocessing import blur

MAX_RATIO = 4.0
"""Contrast, saturation and size change by this factor at most, in either direction."""

BLUR_DEVIATIONS = (0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5, 3.0)
"""Standard deviations in pixels from which the blur of `sharpness` is taken."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the gray level (ITU-R BT.601)."""

EPSILON = 1e-6


@dataclass(frozen=True)
class Donors:
    """The images that give a property: a donor for each recipient, and further ones of its class
    that fill the hole of the donor's object.
    """

    first: ObjectImages
    fillers: tuple[ObjectImages, ...]


@dataclass(frozen=True)
class ExchangeOperator:
    """A property that is exchanged between images.

    `exchange(recipients, donors)` returns images (N, D, H, W), 0..1. A network whose share S of a
    class reaches `threshold` uses the property for it. The thresholds were fixed on the kinds of
    plants that `docs/insight.md` names, and checked on others.
    """

    name: str
    exchange: Callable[[ObjectImages, Donors], Tensor]
    threshold: float
    source: str
    is_color: bool = False  # needs images of three channels
    is_note: bool = False  # its separation from clean networks is thin


OPERATORS: dict[str, ExchangeOperator] = {}


def _register(operator: ExchangeOperator) -> None:
    OPERATORS[operator.name] = operator


def exchange_surround(recipients: ObjectImages, donors: Donors) -> Tensor:
    """The recipient's object on the donor's surroundings.

    Where the donor's own object was, the pixels come from the fillers in their order, and from the
    donor's median where all have an object.
    """
    surround = donors.first.medians.expand_as(recipients.images)
    for donor in (*reversed(donors.fillers), donors.first):
        surround = torch.where(donor.masks, surround, donor.images)
    return torch.where(recipients.masks, recipients.images, surround)


_register(
    ExchangeOperator(
        name="surround",
        exchange=exchange_surround,
        threshold=0.05,
        source="after Xiao et al. 2021, Noise or Signal: images of mixed backgrounds",
    )
)


def exchange_level(recipients: ObjectImages, donors: Donors) -> Tensor:
    """The recipient with the donor's median level in each channel."""
    shifted = recipients.images - recipients.medians + donors.first.medians
    return shifted.clamp(0, 1)


_register(
    ExchangeOperator(
        name="level",
        exchange=exchange_level,
        threshold=0.06,
        source="camreel, docs/insight.md",
    )
)


def exchange_ink(recipients: ObjectImages, donors: Donors) -> Tensor:
    """The recipient's object with the donor's mean contrast to the median."""
    ratio = _ratio(_mean_contrast(donors.first), _mean_contrast(recipients))
    object_pixels = recipients.medians + (recipients.images - recipients.medians) * ratio
    return torch.where(recipients.masks, object_pixels.clamp(0, 1), recipients.images)


_register(
    ExchangeOperator(
        name="ink",
        exchange=exchange_ink,
        threshold=0.10,
        source="camreel, docs/insight.md",
    )
)


def exchange_position(recipients: ObjectImages, donors: Donors) -> Tensor:
    """The recipient's object with its centroid where the donor's is."""
    # Whole pixels: interpolation would blur as well.
    offsets = (_centroids(donors.first) - _centroids(recipients)).round()
    return _place_objects(recipients, scale=torch.ones(len(offsets)), offsets=offsets)


_register(
    ExchangeOperator(
        name="position",
        exchange=exchange_position,
        threshold=0.15,
        source="camreel, docs/insight.md",
    )
)


def exchange_size(recipients: ObjectImages, donors: Donors) -> Tensor:
    """The recipient's object with the donor's radius of gyration, about its own centroid."""
    ratio = _ratio(_gyration_radius(donors.first), _gyration_radius(recipients))
    return _place_objects(recipients, scale=ratio, offsets=torch.zeros(len(ratio), 2))


_register(
    ExchangeOperator(
        name="size",
        exchange=exchange_size,
        threshold=0.35,
        source="camreel, docs/insight.md",
    )
)


def exchange_sharpness(recipients: ObjectImages, donors: Donors) -> Tensor:
    """The recipient, blurred until its share of high frequencies is the donor's.

    A recipient that is no sharper than the donor stays as it is.
    """
    target = _high_frequency_share(donors.first.images)
    closest = recipients.images
    distances = (_high_frequency_share(closest) - target).abs()
    for deviation in BLUR_DEVIATIONS:
        images = blur(recipients.images, deviation)
        new_distances = (_high_frequency_share(images) - target).abs()
        is_closer = new_distances < distances
        closest = torch.where(is_closer[:, None, None, None], images, closest)
        distances = torch.minimum(distances, new_distances)
    return closest


_register(
    ExchangeOperator(
        name="sharpness",
        exchange=exchange_sharpness,
        threshold=0.15,
        source="camreel, docs/insight.md",
        is_note=True,
    )
)


def exchange_hue(recipients: ObjectImages, donors: Donors) -> Tensor:
    """The recipient with the donor's color cast: its mean chroma as a share of its brightness."""
    luma, chroma = _split_color(recipients.images)
    cast_change = _color_cast(donors.first.images) - _color_cast(recipients.images)
    return (luma + chroma + luma * cast_change).clamp(0, 1)


_register(
    ExchangeOperator(
        name="hue",
        exchange=exchange_hue,
        threshold=0.05,
        source="camreel, docs/insight.md",
        is_color=True,
    )
)


def exchange_saturation(recipients: ObjectImages, donors: Donors) -> Tensor:
    """The recipient with the donor's saturation: mean size of the chroma by mean brightness."""
    luma, chroma = _split_color(recipients.images)
    ratio = _ratio(_saturation(donors.first.images), _saturation(recipients.images))
    return (luma + chroma * ratio).clamp(0, 1)


_register(
    ExchangeOperator(
        name="saturation",
        exchange=exchange_saturation,
        threshold=0.05,
        source="camreel, docs/insight.md",
        is_color=True,
    )
)


def _ratio(target: Tensor, present: Tensor) -> Tensor:
    return (target / present.clamp(min=EPSILON)).clamp(1 / MAX_RATIO, MAX_RATIO)


def _mean_contrast(objects: ObjectImages) -> Tensor:
    """Mean distance of the object's pixels from the median, (N, 1, 1, 1)."""
    contrast = (objects.images - objects.medians).abs().mean(dim=1, keepdim=True)
    cores = objects.cores.float()
    total = (contrast * cores).sum(dim=(1, 2, 3), keepdim=True)
    return total / cores.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)


def _centroids(objects: ObjectImages) -> Tensor:
    """Row and column of the object's center of mass by contrast, in pixels, (N, 2)."""
    weights, rows, columns = _object_weights(objects)
    return torch.stack([(weights * rows).sum(dim=(1, 2)), (weights * columns).sum(dim=(1, 2))], 1)


def _gyration_radius(objects: ObjectImages) -> Tensor:
    """Root of the mean squared distance from the centroid by contrast, in pixels, (N,)."""
    weights, rows, columns = _object_weights(objects)
    centers = _centroids(objects)[:, :, None, None]
    squares = (rows - centers[:, 0]) ** 2 + (columns - centers[:, 1]) ** 2
    return (weights * squares).sum(dim=(1, 2)).sqrt()


def _object_weights(objects: ObjectImages) -> tuple[Tensor, Tensor, Tensor]:
    """Contrast inside the object (N, H, W), summing to 1, and the rows and columns of pixels."""
    contrast = (objects.images - objects.medians).abs().mean(dim=1) * objects.cores[:, 0]
    total = contrast.sum(dim=(1, 2), keepdim=True).clamp(min=EPSILON)
    height, width = contrast.shape[1:]
    rows, columns = torch.arange(height).view(-1, 1).float(), torch.arange(width).view(1, -1)
    return contrast / total, rows, columns.float()


def _place_objects(recipients: ObjectImages, scale: Tensor, offsets: Tensor) -> Tensor:
    """The objects scaled (N,) about their centroids and moved by offsets (N, 2) in pixels.

    The median fills the place that an object leaves; pixels are interpolated bilinearly.
    """
    height, width = recipients.images.shape[-2:]
    centers = _centroids(recipients)
    inverse = 1 / scale
    # From a pixel of the result to the pixel of the image that it shows, on the scale -1..1.
    halves = torch.tensor([height / 2, width / 2])
    source = centers + 0.5 - inverse[:, None] * (centers + offsets + 0.5)
    shift = (source + (inverse[:, None] - 1) * halves) / halves
    matrix = torch.zeros(len(scale), 2, 3)
    matrix[:, 0, 0] = matrix[:, 1, 1] = inverse
    matrix[:, 0, 2], matrix[:, 1, 2] = shift[:, 1], shift[:, 0]
    contrast = (recipients.images - recipients.medians) * recipients.masks
    grid = F.affine_grid(matrix, list(contrast.shape), align_corners=False)
    moved_contrast = F.grid_sample(contrast, grid, padding_mode="zeros", align_corners=False)
    weight = F.grid_sample(
        recipients.masks.float(), grid, padding_mode="zeros", align_corners=False
    )
    background = torch.where(recipients.masks, recipients.medians, recipients.images)
    return (background * (1 - weight) + recipients.medians * weight + moved_contrast).clamp(0, 1)


def _high_frequency_share(images: Tensor) -> Tensor:
    """Energy of what a blur by one pixel removes, as a share of the energy about the mean, (N,)."""
    mean = images.mean(dim=(2, 3), keepdim=True)
    detail = ((images - blur(images, 1.0)) ** 2).sum(dim=(1, 2, 3))
    return detail / ((images - mean) ** 2).sum(dim=(1, 2, 3)).clamp(min=EPSILON)


def _split_color(images: Tensor) -> tuple[Tensor, Tensor]:
    """Gray level (N, 1, H, W) of RGB images, and their differences from it (N, 3, H, W)."""
    weights = torch.tensor(LUMA).view(1, 3, 1, 1)
    luma = (images * weights).sum(dim=1, keepdim=True)
    return luma, images - luma


def _color_cast(images: Tensor) -> Tensor:
    """Mean chroma by mean gray level, (N, 3, 1, 1)."""
    luma, chroma = _split_color(images)
    brightness = luma.mean(dim=(2, 3), keepdim=True).clamp(min=EPSILON)
    return chroma.mean(dim=(2, 3), keepdim=True) / brightness


def _saturation(images: Tensor) -> Tensor:
    luma, chroma = _split_color(images)
    size = chroma.square().sum(dim=1, keepdim=True).sqrt()
    return size.mean(dim=(2, 3), keepdim=True) / luma.mean(dim=(2, 3), keepdim=True).clamp(
        min=EPSILON
    )
