"""Maps (equation 2) by any methods, for all images and classes of a network at once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, reduce

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from service.core.cams import DEFAULT_EPSILON
from service.core.cams.fusion import fuse
from service.core.cams.layer_pass import NetworkSplit
from service.core.cams.layers import check_layers
from service.core.cams.methods import MethodSpec
from service.core.cancellation import raise_if_cancelled
from service.core.input import InputSpec
from service.core.models import StagedNetwork
from service.core.models.network import Network
from service.core.preprocessing import to_network_input

Floats = npt.NDArray[np.float32]

MEMORY_BYTES = 2**30
"""Default bound of the memory of a call besides its result."""

UNBATCHED_IMAGES = 16
"""Up to this many images are one block without an estimate of their memory."""


class Blank(StrEnum):
    """The cause for which a map is blank; `none` for a map that is not."""

    NONE = "none"
    SATURATED = "saturated"  # the gradient of the score vanished
    ALL_NEGATIVE = "all-negative"  # the sum of equation 2 is nowhere positive before its ReLU
    DEAD = "dead"  # the layer has no activation to weigh
    NOT_FINITE = "not-finite"  # the map, or the activations, are infinite or not a number


BLANKS = list(Blank)
CAUSES = [cause for cause in Blank if cause is not Blank.NONE]

Extremes = npt.NDArray[np.float64]


def blank_cause(
    peak: float, minimum: float, activation_peak: float, epsilon: float = DEFAULT_EPSILON
) -> Blank:
    """The cause for which a map is blank at threshold epsilon >= 0.

    `peak` is the maximum of equation 2 (after ReLU), `minimum` the minimum of its sum before ReLU,
    `activation_peak` the largest |A| of the layer; an infinite or NaN value means that the map, or
    the activations, are not finite.
    """
    peaks, minima, activation_peaks = np.array([[peak], [minimum], [activation_peak]])
    return BLANKS[int(blank_codes(peaks, minima, activation_peaks, epsilon)[0])]


def blank_codes(
    peaks: Extremes,
    minima: Extremes,
    activation_peaks: Extremes,
    epsilon: float = DEFAULT_EPSILON,
) -> npt.NDArray[np.intp]:
    """`blank_cause` of N maps, as indices into BLANKS (N,)."""
    not_finite = ~(np.isfinite(peaks) & np.isfinite(minima))
    rules = [
        (not_finite, Blank.NOT_FINITE),
        (peaks > epsilon, Blank.NONE),
        (~np.isfinite(activation_peaks), Blank.NOT_FINITE),
        (activation_peaks <= epsilon, Blank.DEAD),
        # A negative value below -epsilon shows that the gradient did not vanish.
        (minima < -epsilon, Blank.ALL_NEGATIVE),
    ]
    conditions = [condition for condition, _ in rules]
    codes = [BLANKS.index(cause) for _, cause in rules]
    return np.select(conditions, codes, BLANKS.index(Blank.SATURATED))


@dataclass(frozen=True)
class ClassMap:
    """The map of one (image, class, method): the sum of equation 2 before its ReLU, unscaled."""

    signed: Floats  # (H, W)
    activation_peak: float  # largest |A| of the layer for this image

    def copy(self) -> "ClassMap":
        """The map with its own memory, where `signed` is a view into an array of many maps."""
        return ClassMap(self.signed.copy(), self.activation_peak)

    @property
    def values(self) -> Floats:
        """Equation 2: the map after its ReLU, (H, W), >= 0."""
        return np.maximum(self.signed, 0)

    @cached_property
    def is_finite(self) -> bool:
        """Whether every value is a finite number."""
        return bool(np.isfinite(self.signed).all())

    @cached_property
    def peak(self) -> float:
        """Maximum of equation 2; NaN where the map is not finite."""
        return max(0.0, float(self.signed.max())) if self.is_finite else math.nan

    @cached_property
    def minimum(self) -> float:
        """Minimum of the sum before its ReLU; NaN where the map is not finite."""
        return float(self.signed.min()) if self.is_finite else math.nan

    def blank_cause(self, epsilon: float = DEFAULT_EPSILON) -> Blank:
        """The cause for which the map is blank at this threshold, or Blank.NONE."""
        if epsilon == DEFAULT_EPSILON:
            return self._default_blank_cause
        return blank_cause(self.peak, self.minimum, self.activation_peak, epsilon)

    @cached_property
    def _default_blank_cause(self) -> Blank:
        return blank_cause(self.peak, self.minimum, self.activation_peak)


@dataclass(frozen=True)
class ClassMaps:
    """The maps of N images for some classes by some methods, and the class scores.

    `signed[method]` is float32 (N, len(classes), H, W) before ReLU, by the method's text as
    requested; `probabilities` (N, C) are those of softmax.
    """

    signed: dict[str, Floats]
    activation_peaks: Floats  # (N,)
    probabilities: Floats  # (N, C)
    classes: tuple[int, ...]

    @classmethod
    def concatenate(cls, blocks: Sequence["ClassMaps"]) -> "ClassMaps":
        """Blocks of different images, by the same methods for the same classes, as one."""
        return cls(
            {
                method: np.concatenate([block.signed[method] for block in blocks])
                for method in blocks[0].signed
            },
            np.concatenate([block.activation_peaks for block in blocks]),
            np.concatenate([block.probabilities for block in blocks]),
            blocks[0].classes,
        )

    def select_image(self, image: int) -> "ClassMaps":
        """The maps of one image, with their own memory."""
        rows = slice(image, image + 1)
        return ClassMaps(
            {method: maps[rows].copy() for method, maps in self.signed.items()},
            self.activation_peaks[rows].copy(),
            self.probabilities[rows].copy(),
            self.classes,
        )

    def predicted_class(self, image: int) -> int:
        """The class with the largest probability for one image; 0 where no score is finite."""
        return int(self.probabilities[image].argmax())

    def class_map(self, method: str, image: int, class_index: int) -> ClassMap:
        """The map of one image for one class. Raises ValueError for a class without maps."""
        return ClassMap(
            self.signed[method][image, self.classes.index(class_index)],
            float(self.activation_peaks[image]),
        )


def class_maps(
    network: Network,
    images: Tensor,
    layer: str,
    methods: Sequence[str],
    classes: Sequence[int] | None = None,
    memory_bytes: int = MEMORY_BYTES,
    input_spec: InputSpec | None = None,
) -> ClassMaps:
    """Maps of the network's input float32 (N, D, h, w) at `layer`, by `methods`, for some classes
    or all.

    A method is a `MethodSpec` as text: `layer-cam/centered`. A layer is `conv2` or, for a combined
    map, `conv1,conv2`; methods that explain the image itself take `input`. One pass below a layer
    serves all methods. Memory besides the result stays under `memory_bytes` for any number of
    images. `input_spec` is what the input was made by; it has the baseline of removed pixels.
    Raises UnknownName and InvalidValue.
    """
    specs = {text: MethodSpec.parse(text) for text in methods}
    layers = layer.split(",")
    for spec in specs.values():
        check_layers(spec.method, layers)
    splits = [NetworkSplit.at(network, name, input_spec) for name in layers]
    block_size = images_per_block(network, images, memory_bytes)
    with torch.no_grad():
        if block_size >= len(images):
            return _block(splits, images, specs, classes, memory_bytes)
        blocks = [
            _block(splits, block, specs, classes, memory_bytes)
            for block in torch.split(images, block_size)
        ]
    return ClassMaps.concatenate(blocks)


def _block(
    splits: Sequence[NetworkSplit],
    images: Tensor,
    specs: Mapping[str, MethodSpec],
    classes: Sequence[int] | None,
    memory_bytes: int,
) -> ClassMaps:
    raise_if_cancelled()
    passes = [split.run(images, memory_bytes // 4) for split in splits]
    indices = tuple(range(passes[0].pre_activations.shape[1]) if classes is None else classes)
    signed = {}
    for text, spec in specs.items():
        maps = [spec.compute(layer_pass, indices) for layer_pass in passes]
        fused = maps[0]
        if len(passes) > 1:
            placements = [layer_pass.placement for layer_pass in passes]
            fused = fuse(maps, placements, spec.method.fusion)
        signed[text] = np.ascontiguousarray(fused.cpu().numpy())
    peaks = reduce(torch.maximum, (layer_pass.activation_peaks for layer_pass in passes))
    probabilities = passes[0].outputs.probabilities
    return ClassMaps(signed, peaks.cpu().numpy(), probabilities.cpu().numpy(), indices)


def images_per_block(network: Network, images: Tensor, memory_bytes: int) -> int:
    """How many of the images make up one block.

    The first image's activations in all stages give the estimate: half of the memory is for
    activations, a quarter for gradients, the rest for what methods compute from them.
    """
    if len(images) <= UNBATCHED_IMAGES:
        return max(1, len(images))
    image_bytes = network.count_values(images[:1]) * images.element_size()
    return max(1, memory_bytes // 2 // (2 * image_bytes))


def explain_images(
    network: Network,
    pixels: Sequence[Tensor],
    layer: str,
    methods: Sequence[str],
    classes: Sequence[int] | None = None,
    memory_bytes: int = MEMORY_BYTES,
    input_spec: InputSpec | None = None,
) -> ClassMaps:
    """`class_maps` of images uint8 (D, h, w), on the network's device and in evaluation mode."""
    images = to_network_input(torch.stack(list(pixels)).to(network.device), input_spec)
    # Shared by threads: its mode must not be set.
    if not isinstance(network, StagedNetwork) or not network.training:
        return class_maps(network, images, layer, methods, classes, memory_bytes, input_spec)
    network.eval()
    try:
        return class_maps(network, images, layer, methods, classes, memory_bytes, input_spec)
    finally:
        network.train()
