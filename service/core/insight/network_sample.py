"""The fixed test images on which the measures of an epoch are taken, and their maps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from service.core.cams.maps import BLANKS, ClassMaps, blank_codes, class_maps
from service.core.cams.methods import PAPER_METHODS
from service.core.cams.targets import Outputs, softmax_jacobian
from service.core.datasets.dataset import Dataset
from service.core.input import InputSpec
from service.core.insight.objects import find_objects
from service.core.measures.resampling import layer_placement, resample_to_pixels
from service.core.models.network import Network
from service.core.preprocessing import to_network_input

IMAGES_PER_CLASS = 5
MAX_CLASSES = 20
"""Classes whose images and maps are measured: the first ones of a larger dataset."""

ATTENTION_METHOD = "hires-cam/centered"
"""Draelos and Carin 2020, for the score of a class minus the mean over classes. Of the methods of
the study, the share of its maps on the object separates best (AUC 0.95, `proposed` 0.45)."""

MIN_PLAUSIBLE_SHARE = 0.5
"""Share of the images with a plausible object, below which objects are not measured."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class NetworkSample:
    """N test images: network input float32 (N, D, h, w), labels int64 (N,), object masks.

    `masks` is bool (N, h, w); an image without a plausible object has none of its pixels.
    """

    images: Tensor
    labels: Tensor
    masks: Tensor
    classes: tuple[int, ...]
    input_spec: InputSpec | None

    @classmethod
    def of_dataset(cls, data: Dataset, input_spec: InputSpec | None) -> "NetworkSample":
        """The first IMAGES_PER_CLASS test images of the first MAX_CLASSES classes."""
        classes = tuple(range(min(MAX_CLASSES, len(data.class_names))))
        rows = torch.cat([(data.test.labels == c).nonzero()[:IMAGES_PER_CLASS, 0] for c in classes])
        pixels = data.test.images[rows]
        objects = find_objects(pixels.float() / 255)
        masks = objects.masks[:, 0] & objects.is_plausible[:, None, None]
        labels = data.test.labels[rows].cpu()
        return cls(to_network_input(pixels, input_spec), labels, masks, classes, input_spec)

    def on(self, device: torch.device) -> "NetworkSample":
        """The sample with its images on a device, where networks are run."""
        return replace(self, images=self.images.to(device))


def sample_size(test_class_sizes: Sequence[int]) -> int:
    """Number of images of the sample of a dataset with test classes of those sizes."""
    return sum(min(IMAGES_PER_CLASS, size) for size in test_class_sizes[:MAX_CLASSES])


@dataclass(frozen=True)
class EpochView:
    """A network of an epoch with the sample, and what measures share. It is in evaluation mode."""

    network: Network
    sample: NetworkSample
    previous_class_means: Floats | None = None  # of the epoch measured before (K, H, W)
    untrained_class_means: Floats | None = None  # of epoch 0

    @cached_property
    def maps(self) -> ClassMaps:
        """Maps of the sample by ATTENTION_METHOD and the paper's methods, for its classes."""
        return class_maps(
            self.network,
            self.sample.images,
            self.network.default_layer,
            [ATTENTION_METHOD, *PAPER_METHODS],
            self.sample.classes,
            input_spec=self.sample.input_spec,
        )

    @cached_property
    def outputs(self) -> Outputs:
        """The outputs of the whole network for the sample."""
        with torch.no_grad():
            x = self.network(self.sample.images).cpu()
        return Outputs(x, self.network.output_activation)

    @cached_property
    def own_maps(self) -> Floats:
        """Signed maps of ATTENTION_METHOD of each image for its label (N, H, W)."""
        return self._of_classes(ATTENTION_METHOD, self.sample.labels.numpy())

    @cached_property
    def rival_maps(self) -> Floats:
        """Signed maps for the class with the largest score beside the label (N, H, W)."""
        x = self.outputs.pre_activations[:, list(self.sample.classes)].clone()
        x.scatter_(1, self.sample.labels[:, None], -torch.inf)
        return self._of_classes(ATTENTION_METHOD, x.argmax(1).numpy())

    @cached_property
    def is_visible(self) -> npt.NDArray[np.bool_]:
        """Whether the own map of an image is not blank (N,)."""
        visible: npt.NDArray[np.bool_] = self._blank_codes(ATTENTION_METHOD) == 0
        return visible

    @cached_property
    def class_means(self) -> Floats:
        """Mean own map of each class over its maps that are not blank (K, H, W), else NaN."""
        labels = self.sample.labels.numpy()
        means = np.full((len(self.sample.classes), *self.own_maps.shape[1:]), np.nan, np.float32)
        for c in self.sample.classes:
            rows = (labels == c) & self.is_visible
            if rows.any():
                means[c] = self.own_maps[rows].mean(axis=0)
        return means

    @cached_property
    def own_maps_on_pixels(self) -> Tensor:
        """Own maps after their ReLU on the image's pixels (N, h, w)."""
        images = self.sample.images
        placement = layer_placement(self.network, self.network.default_layer, images[:1])
        values = torch.from_numpy(self.own_maps).clamp(min=0)
        return resample_to_pixels(values, (images.shape[-2], images.shape[-1]), placement)

    @cached_property
    def score_derivatives(self) -> Tensor:
        """d p_y / d x_y of each image's label y (N,): the factor by which Grad-CAM's maps fade."""
        jacobian = softmax_jacobian(self.outputs)
        labels = self.sample.labels
        return jacobian[torch.arange(len(labels)), labels, labels]

    def blank_counts(self, method: str) -> dict[str, int]:
        """Blank maps of the sample for its labels by a method, by cause."""
        counts = np.bincount(self._blank_codes(method), minlength=len(BLANKS)).tolist()
        return {cause.value: counts[i] for i, cause in enumerate(BLANKS) if i}

    def _blank_codes(self, method: str) -> npt.NDArray[np.intp]:
        labels = self.sample.labels
        maps = self._of_classes(method, labels.numpy()).reshape(len(labels), -1)
        peaks = maps.max(axis=1).clip(min=0).astype(np.float64)
        minima = maps.min(axis=1).astype(np.float64)
        return blank_codes(peaks, minima, self.maps.activation_peaks.astype(np.float64))

    def _of_classes(self, method: str, classes: npt.NDArray[np.int64]) -> Floats:
        signed = self.maps.signed[method]
        selected: Floats = signed[np.arange(len(signed)), classes]
        return selected
