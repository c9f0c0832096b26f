"""Maps (equation 2) of any method, for all images and classes of a network at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from service.core.cams.blank import DEFAULT_EPSILON, Blank, blank_cause
from service.core.cams.cut import cut
from service.core.cams.methods import METHODS
from service.core.images import as_input
from service.core.models import StagedNetwork
from service.errors import UnknownName

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ClassMap:
    """The map of one (image, class, method): the sum of equation 2 before its ReLU, unscaled."""

    signed: Floats  # (H, W)
    activation_peak: float  # largest |A| of the layer for this image

    @property
    def values(self) -> Floats:
        """Equation 2: the map after its ReLU, (H, W), >= 0."""
        return np.maximum(self.signed, 0)

    @property
    def peak(self) -> float:
        """Maximum of equation 2."""
        return max(0.0, float(self.signed.max()))

    @property
    def minimum(self) -> float:
        """Minimum of the sum before its ReLU: how strong the evidence against the class is."""
        return float(self.signed.min())

    def blank(self, epsilon: float = DEFAULT_EPSILON) -> Blank:
        """Why the map shows nothing at this threshold, or Blank.NONE."""
        return blank_cause(self.peak, self.minimum, self.activation_peak, epsilon)


@dataclass(frozen=True)
class ClassMaps:
    """The maps of N images for all C classes by some methods, and the class scores.

    `signed[method]` is float32 (N, C, H, W) before ReLU; `probabilities` (N, C) is softmax's.
    """

    signed: dict[str, Floats]
    activation_peaks: Floats  # (N,)
    probabilities: Floats  # (N, C)

    def only(self, image: int) -> "ClassMaps":
        """Those of one image, as a block of its own."""
        part = slice(image, image + 1)
        return ClassMaps(
            {method: maps[part].copy() for method, maps in self.signed.items()},
            self.activation_peaks[part].copy(),
            self.probabilities[part].copy(),
        )

    def one(self, method: str, image: int, class_index: int) -> ClassMap:
        """The map of one image for one class."""
        return ClassMap(
            self.signed[method][image, class_index], float(self.activation_peaks[image])
        )


def class_maps(
    network: StagedNetwork, images: Tensor, layer: str, methods: Sequence[str]
) -> ClassMaps:
    """Maps of images float32 (N, D, H, W), 0..1, at `layer`, by `methods`, for every class.

    One pass of the network serves all methods and classes. Raises UnknownName.
    """
    for method in methods:
        if method not in METHODS:
            raise UnknownName("method", method, METHODS)
    with torch.no_grad():
        seen = cut(network, images, layer)
        flat = seen.activations.flatten(2)  # (N, K, H W)
        unit_maps = seen.unit_weights @ flat  # (N, C, H W): eq. 2 of all units in one product
        signed = {}
        for method in methods:
            mixing = METHODS[method].mixing(seen)
            maps = unit_maps if mixing is None else mixing @ unit_maps
            signed[method] = (
                maps.reshape(*maps.shape[:2], *seen.activations.shape[2:]).cpu().numpy()
            )
        peaks = torch.maximum(flat.amax((1, 2)), -flat.amin((1, 2)))
        return ClassMaps(signed, peaks.cpu().numpy(), seen.logits.softmax(1).cpu().numpy())


def look(
    network: StagedNetwork, pixels: Sequence[Tensor], layer: str, methods: Sequence[str]
) -> ClassMaps:
    """`class_maps` of images uint8 (D, H, W), on the network's device and in evaluation mode."""
    was_training = network.training
    device = next(network.parameters()).device
    network.eval()
    try:
        return class_maps(network, as_input(torch.stack(list(pixels)).to(device)), layer, methods)
    finally:
        network.train(was_training)
