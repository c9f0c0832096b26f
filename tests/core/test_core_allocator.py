"""Freed memory is kept: a forward pass takes its buffers again without page faults."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from service.core.allocator import keep_freed_memory
from service.core.models import Architecture

if sys.argv[1] == "kept":
    assert keep_freed_memory()
network = Architecture().build((1, 28, 28), 10).eval().requires_grad_(False)
network = network.to(memory_format=torch.channels_last)
images = torch.rand(10, 1, 28, 28)
for _ in range(5):
    network(images)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    network(images)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_kept_memory_is_taken_again_without_page_faults() -> None:
    assert _page_faults("kept") * 10 < _page_faults("plain")


def _page_faults(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
    )
    return int(done.stdout)
