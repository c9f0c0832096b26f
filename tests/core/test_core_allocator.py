"""Freed memory stays with the process: blocks are allocated again without page faults."""

import platform
import subprocess
import sys

import pytest

# Blocks of 4 MiB, eight at a time: freed together they exceed glibc's own trim threshold, which
# never grows beyond twice the largest block. So glibc returns them to the kernel by default.
PROGRAM = """
import ctypes, resource, sys
from service.core.allocator import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
if sys.argv[1] == "kept":
    assert keep_freed_memory()

def allocate_and_free():
    blocks = [libc.malloc(4 * 2**20) for _ in range(8)]
    for block in blocks:
        ctypes.memset(block, 1, 4 * 2**20)
    for block in blocks:
        libc.free(block)

for _ in range(5):
    allocate_and_free()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    allocate_and_free()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_memory_is_allocated_again_without_page_faults() -> None:
    assert _page_faults("kept") * 10 < _page_faults("plain")


def _page_faults(mode: str) -> int:
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True
    )
    return int(process.stdout)
