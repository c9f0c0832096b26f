"""Classifiers of torchvision as they are, for images of any origin: weights, input, class names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from service.core.input import Crop, InputSpec, Resize
from service.core.models.architecture import build_structure
from service.core.models.torchvision_classifiers import (
    AUXILIARY_HEADS,
    TorchvisionClassifier,
    head_name,
)
from service.core.models.weights import load_tensors
from service.errors import WeightsUnavailable

SEED = 0
"""Of random weights."""


@dataclass(frozen=True)
class PretrainedClassifier:
    """A classifier in evaluation mode, what it sees of an image, and the names of its classes."""

    module: nn.Module
    input_spec: InputSpec
    class_names: tuple[str, ...]  # numbers for weights whose classes are unknown


def load_classifier(
    architecture: TorchvisionClassifier, weights_folder: Path | None
) -> PretrainedClassifier:
    """The classifier with its weights, all layers included.

    Files of weights determine the number of classes; random weights have that of torchvision's own.
    Raises WeightsUnavailable.
    """
    published = _published_weights(architecture.classifier)
    input_spec, names = published_input(published.transforms()), published.meta["categories"]
    tensors = architecture.read_weights(weights_folder)
    count = len(names)
    if tensors:
        count = _class_count(architecture, tensors, input_spec.image_shape, count)
    with torch.random.fork_rng([]):
        torch.manual_seed(SEED)
        module = architecture.build(input_spec.image_shape, count)
    if tensors:
        load_tensors(module, tensors, AUXILIARY_HEADS)
    if architecture.weights != "default":
        names = [str(index) for index in range(count)]
    return PretrainedClassifier(module.eval(), input_spec, tuple(names))


def published_input(transforms: Any) -> InputSpec:
    """The input of torchvision's `ImageClassification` transforms, which belong to weights."""
    return InputSpec(
        resize=Resize(
            mode="shorter",
            size=list(transforms.resize_size),
            interpolation=transforms.interpolation.value,
            antialias=bool(transforms.antialias),
        ),
        crop=Crop(size=list(transforms.crop_size)),
        mean=list(transforms.mean),
        std=list(transforms.std),
    )


def _published_weights(classifier: str) -> Any:
    from torchvision.models import get_model_weights

    return get_model_weights(classifier).DEFAULT


def _class_count(
    architecture: TorchvisionClassifier,
    tensors: dict[str, Tensor],
    image_shape: tuple[int, int, int],
    count: int,
) -> int:
    """The number of classes of the last layer in a state dict. Raises WeightsUnavailable."""
    head = head_name(build_structure(architecture, image_shape, count))
    weight = tensors.get(f"{head}.weight")
    if weight is None or weight.dim() == 0 or weight.shape[0] < 2:
        raise WeightsUnavailable(
            f"The weights have no last layer of {architecture.name}: {head}.weight."
        )
    return int(weight.shape[0])
