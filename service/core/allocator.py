"""Configuration of this process's memory allocator.

glibc returns freed blocks of a megabyte to the kernel and requests them again for the next batch.
Each page is then zeroed again, which costs more than the convolution that fills it. Keeping the
blocks halves the time of a forward pass of ten images.
"""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h

KEPT_BYTES = 256 * 2**20
LARGEST_KEPT_BLOCK_BYTES = 32 * 2**20  # the maximum that glibc allows


def keep_freed_memory() -> bool:
    """Keep up to KEPT_BYTES of freed memory for reuse. Returns False where libc is not glibc."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    block = mallopt(_M_MMAP_THRESHOLD, LARGEST_KEPT_BLOCK_BYTES)
    return bool(block and mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES))
