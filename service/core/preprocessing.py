"""From stored pixels to a network's input."""

import torch
from torch import Tensor


def to_network_input(images: Tensor) -> Tensor:
    """Images uint8 (N, D, H, W), 0..255, as float32, 0..1."""
    return images.to(torch.float32).div_(255)
