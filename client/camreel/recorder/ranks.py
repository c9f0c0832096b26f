"""Which of several training processes records."""

import os

import torch


def is_recording_rank() -> bool:
    """Whether this process is the only one, or the first of a distributed training."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank() == 0
    for name in ("RANK", "SLURM_PROCID"):
        if os.environ.get(name, "").isdecimal():
            is_distributed = int(os.environ.get("WORLD_SIZE", "1") or 1) > 1
            return int(os.environ[name]) == 0 or not is_distributed
    return True
