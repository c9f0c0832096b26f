"""The training environment: what determines a run's bits besides its spec and its data."""

import os
import platform
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

DEFAULT_THREADS = torch.get_num_threads()
"""Threads of a run's first training: OMP_NUM_THREADS or the process's affinity, else the number of
cores. Independent of how many runs train at once, because reductions are split by threads and
another thread count gives other bits."""

MATH_VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
)
"""Environment variables that select the arithmetic of torch's libraries."""


@dataclass(frozen=True)
class TrainingEnvironment:
    """What determines the bits of a training besides its spec and its data.

    On a CPU, equal specs in equal environments give equal bits. On a GPU they need not.
    """

    torch: str
    numpy: str
    threads: int  # of torch's operations
    device: str  # `cpu`, or the GPU's name
    cpu_capability: str  # instruction set of torch's own kernels, `AVX512`
    processor: str  # model name: oneDNN and MKL choose kernels by it
    machine: str  # architecture, `x86_64`
    deterministic: bool  # whether equal environments give equal bits
    math_variables: dict[str, str]  # those of MATH_VARIABLES that are set

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def current_environment(device: torch.device) -> TrainingEnvironment:
    """The environment of this process when it trains on `device`."""
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


def describe_differences(reference: dict[str, Any], current: dict[str, Any]) -> list[str]:
    """Descriptions of the fields that differ between two environments' dicts.

    A field that is missing in either, because another version wrote it, does not count.
    """
    names = [name for name in reference if name in current and name != "deterministic"]
    return [
        f"{name} {_format_value(current[name])} instead of {_format_value(reference[name])}"
        for name in names
        if reference[name] != current[name]
    ]


def set_threads(threads: int) -> None:
    """Set the number of threads of torch's operations in this process."""
    torch.set_num_threads(threads)


def _format_value(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={setting}" for name, setting in value.items()) or "none"
    return str(value)


@cache
def _processor() -> str:
    """The processor's model name as reported by the kernel; may be empty."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()[:120]
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())[:120]
