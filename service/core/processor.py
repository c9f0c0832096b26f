"""The processor's share that torch may take in this process, and what happens without memory."""

import torch

# As torch starts out: what OMP_NUM_THREADS or the process's affinity allows, else all cores.
THREADS_ALLOWED = torch.get_num_threads()


def share_cores(processes: int) -> None:
    """Let torch use this process's share of the cores, where `processes` train at once."""
    torch.set_num_threads(max(1, THREADS_ALLOWED // processes))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, the machine's or the GPU's, was not enough."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # torch's allocator for the CPU has no exception of its own.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
