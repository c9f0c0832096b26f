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
    # torch's CPU allocator and oneDNN have no exception types of their own.
    messages = ("DefaultCPUAllocator", "could not create a primitive")
    return isinstance(error, RuntimeError) and any(text in str(error) for text in messages)
