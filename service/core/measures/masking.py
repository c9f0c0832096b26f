"""What remains of the class in an image that was multiplied by its map."""

import torch
from torch import Tensor

from service.core.measures.measure import EvaluationBatch, confidences


def masked_images(subject: EvaluationBatch) -> Tensor:
    """Images times their maps, which are divided by their peaks: (N, D, h, w)."""
    return subject.images * subject.normalized_maps.unsqueeze(1)


def masked_confidences(subject: EvaluationBatch) -> Tensor:
    """o: probability of each image's class in its masked image (N,)."""
    return confidences(subject.network, masked_images(subject), subject.classes)


def average_drop(subject: EvaluationBatch) -> Tensor:
    """max(0, y - o) / y, 0..1, (N,): y of the image, o of the masked image.

    Chattopadhay et al. 2018, Grad-CAM++ (arXiv:1710.11063), Average Drop %, which they print times
    100.
    pytorch-grad-cam's DropInConfidence lacks the division by y.
    """
    before, after = subject.confidences, subject.cached(masked_confidences)
    drop = (before - after).clamp(min=0)
    return torch.where(before == 0, 0, drop / torch.where(before == 0, 1, before))


def increase(subject: EvaluationBatch) -> Tensor:
    """1 where the masked image shows its class more surely than the image does, else 0, (N,).

    Chattopadhay et al. 2018, Grad-CAM++ (arXiv:1710.11063), Increase in Confidence: the mean is the
    share of images whose confidence increases.
    """
    return (subject.cached(masked_confidences) > subject.confidences).to(subject.maps.dtype)
