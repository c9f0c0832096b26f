"""Devices that networks can be trained on."""

import torch

AUTO, CPU, CUDA = "auto", "cpu", "cuda"


def available_devices() -> tuple[str, ...]:
    """The devices of this machine: `cpu`, and `cuda` where torch has a GPU to use.

    The count comes from NVML where that is installed: this process initializes no CUDA context.
    """
    return (CPU, CUDA) if torch.cuda.device_count() > 0 else (CPU,)
