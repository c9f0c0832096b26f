"""Pages over many epochs go on without the bad ones, and say which they are."""

from collections.abc import Sequence

HEADER = "X-Cam-Quarantined"


def quarantine_header(epochs: Sequence[int]) -> dict[str, str]:
    """`X-Cam-Quarantined: 3,7`: epochs that were asked for and left out; none, no header."""
    return {HEADER: ",".join(map(str, epochs))} if epochs else {}
