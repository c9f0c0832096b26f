"""Random numbers that depend on a seed and an image alone.

So the same request gives the same bytes, and an image the same map whatever stands beside it.
"""

import hashlib

import torch
from torch import Tensor

from service.core.cancellation import raise_if_cancelled


def generator(seed: int, image: Tensor) -> torch.Generator:
    """A generator for one image float32 (D, h, w)."""
    digest = hashlib.sha256(image.detach().cpu().contiguous().numpy().tobytes())
    digest.update(str(seed).encode())
    return torch.Generator().manual_seed(int.from_bytes(digest.digest()[:7], "little"))


def normal(images: Tensor, samples: int, shape: tuple[int, ...], seed: int) -> Tensor:
    """Standard normal numbers (samples, N, *shape), each image's its own."""
    drawn = []
    for image in images:
        raise_if_cancelled()
        numbers = torch.randn((samples, *shape), generator=generator(seed, image))
        drawn.append(numbers.to(image.device))
    return torch.stack(drawn, dim=1)
