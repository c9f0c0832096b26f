"""What decides the bits of a training, besides its spec and its data."""

import os
import platform
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

DEFAULT_THREADS = torch.get_num_threads()
"""Of a training that is the first of its run: what OMP_NUM_THREADS or the process's affinity
allows, else the number of cores. It does not depend on how many runs train at once: reductions are
split by threads, so that other thread counts give other bits."""

MATH_VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
)
"""Environment variables that choose other arithmetic in torch's libraries."""


@dataclass(frozen=True)
class TrainingEnvironment:
    """What decides the bits of a training, besides its spec and its data.

    Where all of it is equal, equal specs give equal bits on a CPU. On a GPU they need not.
    """

    torch: str
    numpy: str
    threads: int  # of torch's operations
    device: str  # `cpu`, or the GPU's name
    cpu_capability: str  # instruction set of torch's own kernels, `AVX512`
    processor: str  # its model: oneDNN and MKL choose their kernels by it
    machine: str  # architecture, `x86_64`
    deterministic: bool  # whether equal environments give equal bits
    math_variables: dict[str, str]  # those of MATH_VARIABLES that are set

    def to_dict(self) -> dict[str, Any]:
        """Its fields as JSON values."""
        return asdict(self)


def current_environment(device: torch.device) -> TrainingEnvironment:
    """That of this process when it trains on `device`."""
    on_cpu = device.type == "cpu"
    return TrainingEnvironment(
        torch=str(torch.__version__),
        numpy=np.__version__,
        threads=torch.get_num_threads(),
        device="cpu" if on_cpu else torch.cuda.get_device_name(device),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        processor=_processor(),
        machine=platform.machine(),
        deterministic=on_cpu,
        math_variables={
            name: os.environ[name][:80] for name in MATH_VARIABLES if name in os.environ
        },
    )


def describe_differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """How two documents of environments differ in what decides the bits, a phrase for each field.

    A field that either does not have, as another version wrote it, is no difference.
    """
    names = [name for name in before if name in after and name != "deterministic"]
    return [
        f"{name} {_shown(after[name])} instead of {_shown(before[name])}"
        for name in names
        if before[name] != after[name]
    ]


def set_threads(threads: int) -> None:
    """Let torch's operations use so many threads in this process, whatever the cores."""
    torch.set_num_threads(threads)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={setting}" for name, setting in value.items()) or "none"
    return str(value)


@cache
def _processor() -> str:
    """The model of the processor, as the kernel has it; empty where it does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()[:120]
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())[:120]
