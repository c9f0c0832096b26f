"""What remains of the class in an image that is visible as far as its map is high."""

import torch
from torch import Tensor

from service.core.measures.measure import Direction, EvaluationBatch, Measure, confidences


def masked_images(batch: EvaluationBatch) -> Tensor:
    """The baseline, plus the difference to the image times the map divided by its peak.

    (N, D, h, w); on black, the image times its map.
    """
    visible = (batch.images - batch.baseline) * batch.normalized_maps.unsqueeze(1)
    return batch.baseline + visible


def masked_confidences(batch: EvaluationBatch) -> Tensor:
    """o: probability of each image's class in its masked image (N,)."""
    return confidences(batch.network, masked_images(batch), batch.classes)


def average_drop(batch: EvaluationBatch) -> Tensor:
    """Drops (N,), 0..1: y of the image, o of the masked image. The paper prints them times 100.

    pytorch-grad-cam's DropInConfidence lacks the division by y.
    """
    original, masked = batch.confidences, batch.cached(masked_confidences)
    drop = (original - masked).clamp(min=0)
    return torch.where(original == 0, 0, drop / torch.where(original == 0, 1, original))


AVERAGE_DROP = Measure(
    name="average-drop",
    title="Average drop",
    description="The share of the confidence that is lost when the image is multiplied by its map.",
    formula="max(0, y - o) / y",
    source="Chattopadhay et al., Grad-CAM++ (arXiv:1710.11063)",
    year=2018,
    range=(0, 1),
    better_direction=Direction.LOWER,
    compute=average_drop,
)


def increase(batch: EvaluationBatch) -> Tensor:
    """1 or 0 (N,): the mean is the share of images whose confidence increases."""
    return (batch.cached(masked_confidences) > batch.confidences).to(batch.maps.dtype)


INCREASE = Measure(
    name="increase",
    title="Increase in confidence",
    description="The share of images whose confidence grows when the image is multiplied by its "
    "map.",
    formula="1 if o > y, else 0",
    source="Chattopadhay et al., Grad-CAM++ (arXiv:1710.11063)",
    year=2018,
    range=(0, 1),
    better_direction=Direction.HIGHER,
    compute=increase,
)

MASKING_MEASURES = (AVERAGE_DROP, INCREASE)
