"""The header that lists quarantined epochs."""

from collections.abc import Sequence

HEADER = "X-Cam-Quarantined"


def quarantine_header(epochs: Sequence[int]) -> dict[str, str]:
    """`X-Cam-Quarantined: 3,7`: requested epochs that are omitted; no header if none are."""
    return {HEADER: ",".join(map(str, epochs))} if epochs else {}
