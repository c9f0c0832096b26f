"""Errors of memory that is not enough, the machine's or the GPU's."""

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, the machine's or the GPU's, was not enough."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # torch's allocator for the CPU has no exception of its own.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
