"""Devices that networks can be trained on, and their memory errors."""

import torch

AUTO, CPU, CUDA = "auto", "cpu", "cuda"


def available_devices() -> tuple[str, ...]:
    """The devices of this machine: `cpu`, and `cuda` where torch can use a GPU.

    The count comes from NVML where that is installed, so that this process creates no CUDA context.
    """
    return (CPU, CUDA) if torch.cuda.device_count() > 0 else (CPU,)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the machine or the GPU had too little memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # torch's CPU allocator has no exception type of its own.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
