"""A job that takes more memory than there is. It imports nothing, which would take some too."""

LIMIT_BYTES = 256 * 2**20


def hoard() -> None:
    """Takes twice what is to be had."""
    blocks = [b"x" * 2**20 for _ in range(2 * LIMIT_BYTES // 2**20)]
    raise AssertionError(f"{len(blocks)} MiB were to be had")
