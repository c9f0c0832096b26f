"""What a recorder can be told, besides the network and its probes."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEFAULT_SPOOL_BYTES = 20 * 2**30
FREE_BYTES = 2**28
"""Free space of the disk that a spool leaves to others."""

DURABILITIES = ("process", "power")
FULL_ACTIONS = ("block", "skip")


@dataclass(frozen=True)
class RecorderOptions:
    """Options of a recorder, checked."""

    labels: Sequence[int] | None = None
    classes: Sequence[str] | None = None
    name: str = ""
    tags: Sequence[str] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    epochs: int | None = None
    mean: Sequence[float] | float | None = None
    std: Sequence[float] | float | None = None
    transform: Callable[[Any], Any] | None = None
    every: int = 1
    weights: str = "float32"
    durable: str = "process"
    on_full: str = "block"
    spool_bytes: int = DEFAULT_SPOOL_BYTES
    strict: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError with the option and its range."""
        if self.durable not in DURABILITIES:
            raise ValueError(f"durable: must be one of {', '.join(DURABILITIES)}")
        if self.on_full not in FULL_ACTIONS:
            raise ValueError(f"on_full: must be one of {', '.join(FULL_ACTIONS)}")
        if type(self.every) is not int or self.every < 1:
            raise ValueError("every: must be a whole number of at least 1")
        if self.spool_bytes < 1:
            raise ValueError("spool_bytes: must be at least 1")
        if self.epochs is not None and not 0 <= self.epochs <= 10_000:
            raise ValueError("epochs: must be from 0 to 10000")


def spool_root(path: str | Path | None) -> Path:
    """The folder of spools: that given, `CAMREEL_SPOOL_DIR`, or `camreel-spool` here."""
    return Path(path or os.environ.get("CAMREEL_SPOOL_DIR") or "camreel-spool")


def service_url(url: str | None) -> str | None:
    """The address of the service: that given, or `CAMREEL_URL`; None without one, or for ""."""
    return (os.environ.get("CAMREEL_URL", "") if url is None else url).rstrip("/") or None


def service_token(token: str | None) -> str | None:
    """The token given, or `CAMREEL_TOKEN`."""
    return token or os.environ.get("CAMREEL_TOKEN") or None
