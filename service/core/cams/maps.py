"""Maps (equation 2) by any methods, for all images and classes of a network at once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from service.core.cams.blank import DEFAULT_EPSILON, Blank, blank_cause
from service.core.cams.cut import Cut
from service.core.cams.explanation import MethodSpec
from service.core.cams.fusion import fuse
from service.core.cams.layers import check_layers
from service.core.cancellation import raise_if_cancelled
from service.core.images import to_network_input
from service.core.models import StagedNetwork

Floats = npt.NDArray[np.float32]

MEMORY_BYTES = 2**30
"""What a call may hold besides its result, unless told otherwise."""

FEW_IMAGES = 16


@dataclass(frozen=True)
class ClassMap:
    """The map of one (image, class, method): the sum of equation 2 before its ReLU, unscaled."""

    signed: Floats  # (H, W)
    activation_peak: float  # largest |A| of the layer for this image

    def copy(self) -> "ClassMap":
        """The same map on memory of its own, where `signed` is a part of many maps'."""
        return ClassMap(self.signed.copy(), self.activation_peak)

    @property
    def values(self) -> Floats:
        """Equation 2: the map after its ReLU, (H, W), >= 0."""
        return np.maximum(self.signed, 0)

    @cached_property
    def is_finite(self) -> bool:
        """Whether every value is a finite number."""
        return bool(np.isfinite(self.signed).all())

    @property
    def peak(self) -> float:
        """Maximum of equation 2; NaN where the map is not finite."""
        return max(0.0, float(self.signed.max())) if self.is_finite else math.nan

    @property
    def minimum(self) -> float:
        """Minimum of the sum before its ReLU: how strong the evidence against the class is.

        NaN where the map is not finite.
        """
        return float(self.signed.min()) if self.is_finite else math.nan

    def blank_cause(self, epsilon: float = DEFAULT_EPSILON) -> Blank:
        """Why the map shows nothing at this threshold, or Blank.NONE."""
        return blank_cause(self.peak, self.minimum, self.activation_peak, epsilon)


@dataclass(frozen=True)
class ClassMaps:
    """The maps of N images for some classes by some methods, and the class scores.

    `signed[method]` is float32 (N, len(classes), H, W) before ReLU, by the explanation's text as it
    was asked for; `probabilities` (N, C) is softmax's.
    """

    signed: dict[str, Floats]
    activation_peaks: Floats  # (N,)
    probabilities: Floats  # (N, C)
    classes: tuple[int, ...]

    @classmethod
    def concatenate(cls, blocks: Sequence["ClassMaps"]) -> "ClassMaps":
        """Blocks of other images, by the same methods for the same classes, as one."""
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
        """Those of one image, as a block of its own."""
        part = slice(image, image + 1)
        return ClassMaps(
            {method: maps[part].copy() for method, maps in self.signed.items()},
            self.activation_peaks[part].copy(),
            self.probabilities[part].copy(),
            self.classes,
        )

    def predicted_class(self, image: int) -> int:
        """The class that the network is surest of for one image; 0 where no score is finite."""
        return int(self.probabilities[image].argmax())

    def class_map(self, method: str, image: int, class_index: int) -> ClassMap:
        """The map of one image for one class; ValueError for a class that was not asked for."""
        return ClassMap(
            self.signed[method][image, self.classes.index(class_index)],
            float(self.activation_peaks[image]),
        )


def class_maps(
    network: StagedNetwork,
    images: Tensor,
    layer: str,
    methods: Sequence[str],
    classes: Sequence[int] | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> ClassMaps:
    """Maps of images float32 (N, D, h, w), 0..1, at `layer`, by `methods`, for some classes or all.

    A method is named by an Explanation's text: `layer-cam/centred`. Layers are named as
    `conv2` or, to be combined, `conv1,conv2`; methods that explain the image itself take `input`.
    One pass below a layer serves all methods. What is held besides the result stays under
    `memory_bytes`, however many images there are. Raises UnknownName and InvalidValue.
    """
    asked = {text: MethodSpec.parse(text) for text in methods}
    layers = layer.split(",")
    for explanation in asked.values():
        check_layers(explanation.method, layers)
    at_once = images_at_once(network, images, memory_bytes)
    with torch.no_grad():
        blocks = [
            _block(network, some, layers, asked, classes, memory_bytes)
            for some in torch.split(images, at_once)
        ]
    return blocks[0] if len(blocks) == 1 else ClassMaps.concatenate(blocks)


def _block(
    network: StagedNetwork,
    images: Tensor,
    layers: Sequence[str],
    asked: Mapping[str, MethodSpec],
    classes: Sequence[int] | None,
    memory_bytes: int,
) -> ClassMaps:
    raise_if_cancelled()
    cuts = [Cut(network, images, name, memory_bytes // 4) for name in layers]
    chosen = tuple(range(cuts[0].pre_activations.shape[1]) if classes is None else classes)
    signed = {}
    for text, explanation in asked.items():
        maps = [explanation.compute(cut, chosen) for cut in cuts]
        fused = maps[0]
        if len(cuts) > 1:
            fused = fuse(maps, [cut.placement for cut in cuts], explanation.method.fusion)
        signed[text] = np.ascontiguousarray(fused.cpu().numpy())
    peaks = torch.stack([_largest(cut.activations) for cut in cuts]).amax(0)
    probabilities = cuts[0].logits.softmax(1)
    return ClassMaps(signed, peaks.cpu().numpy(), probabilities.cpu().numpy(), chosen)


def images_at_once(network: StagedNetwork, images: Tensor, memory_bytes: int) -> int:
    """How many of the images to take in one block.

    Few are taken as they are. Of many, one tells what its activations take in all stages; half of
    the memory is theirs, a quarter that of gradients, the rest that of what is made of them.
    """
    if len(images) <= FEW_IMAGES:
        return max(1, len(images))
    with torch.no_grad():
        signal, taken = images[:1], 0
        for stage in network:
            signal = stage(signal)
            taken += signal.nbytes
    return max(1, memory_bytes // 2 // (2 * taken))


def _largest(activations: Tensor) -> Tensor:
    """The largest |A| of each image (N,). Two passes without a copy: faster than aminmax is."""
    return torch.maximum(activations.amax((1, 2, 3)), -activations.amin((1, 2, 3)))


def explain_images(
    network: StagedNetwork,
    pixels: Sequence[Tensor],
    layer: str,
    methods: Sequence[str],
    classes: Sequence[int] | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> ClassMaps:
    """`class_maps` of images uint8 (D, h, w), on the network's device and in evaluation mode."""
    was_training = network.training
    device = next(network.parameters()).device
    network.eval()
    try:
        images = to_network_input(torch.stack(list(pixels)).to(device))
        return class_maps(network, images, layer, methods, classes, memory_bytes)
    finally:
        network.train(was_training)
