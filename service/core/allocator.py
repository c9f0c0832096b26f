"""How this process's allocator treats freed memory.

glibc hands blocks of a megabyte back to the kernel when they are freed, and asks for them anew with
the next batch: each page is then zeroed again, which costs more than the convolution that fills it.
Keeping them makes a forward pass of ten images take half the time.
"""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h

KEPT_BYTES = 256 * 2**20
LARGEST_KEPT_BLOCK_BYTES = 32 * 2**20  # the most that glibc allows


def keep_freed_memory() -> bool:
    """Keep up to KEPT_BYTES of freed memory for what comes next; False where libc is not glibc."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    block = mallopt(_M_MMAP_THRESHOLD, LARGEST_KEPT_BLOCK_BYTES)
    return bool(block and mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES))
