"""The processor's share that torch may take in this process, and what happens without memory."""

import os

import torch


def share_cores(processes: int) -> None:
    """Let torch use this process's share of the cores, where `processes` train at once."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, the machine's or the GPU's, was not enough."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # torch's allocator for the CPU has no exception of its own.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
