"""A job that allocates more memory than available. It imports nothing, to need no other memory."""

LIMIT_BYTES = 256 * 2**20


def hoard() -> None:
    """Allocates twice the limit."""
    blocks = [b"x" * 2**20 for _ in range(2 * LIMIT_BYTES // 2**20)]
    raise AssertionError(f"{len(blocks)} MiB could be allocated")
