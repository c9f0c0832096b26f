"""Where a spool is sent: a service, by HTTP or within its own process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class RunLease:
    """The right to write for a run."""

    run_id: int
    lease: str


@dataclass(frozen=True)
class EpochContent:
    """What is sent of an epoch."""

    tensors: Mapping[str, str]
    """SHA-256 by name."""
    metrics: Mapping[str, float | None]
    steps: Mapping[str, Sequence[tuple[int, float | None]]]


@dataclass(frozen=True)
class TensorSource:
    """The file of a tensor, read in parts."""

    sha256: str
    size_bytes: int
    read: Callable[[int, int], bytes]
    """The bytes from an offset on, of a length."""


class Destination(Protocol):
    """A service. Its methods raise Unavailable, Refused, RunEnded and LeaseLost.

    Repeating a call has no further effect.
    """

    @property
    def name(self) -> str:
        """Address of the service, without secrets."""

    def add_network(self, program: bytes) -> str:
        """Store a program; its identity."""

    def create_run(self, body: Mapping[str, Any], recording_id: str) -> RunLease:
        """Create a run, or return the one of that id."""

    def take_over(self, run_id: int, *, is_reopened: bool) -> RunLease:
        """A new lease. With `is_reopened`, a run that has ended continues."""

    def put_probe(self, lease: RunLease, position: int, png: bytes, label: int | None) -> None:
        """Store a probe."""

    def put_epoch(self, lease: RunLease, index: int, content: EpochContent) -> list[str]:
        """Store an epoch; the SHA-256 of tensors that it misses, none if it is stored."""

    def put_tensor(self, tensor: TensorSource) -> None:
        """Store a tensor."""

    def put_metrics(self, lease: RunLease, index: int, metrics: Mapping[str, float | None]) -> None:
        """Add metrics to an epoch."""

    def heartbeat(self, lease: RunLease) -> None:
        """Report that the recorder is alive."""

    def end(self, lease: RunLease, status: str, detail: str) -> None:
        """End the run as `succeeded`, `failed` or `cancelled`."""
