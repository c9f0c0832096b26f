"""What a recorder has done so far."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RecorderStatus:
    """State of a recorder at one time."""

    is_recording: bool
    """False on ranks other than 0, and after the end."""
    spool: Path | None
    url: str | None
    """Address of the service; None for a spool that is sent later."""
    run_id: int | None
    """Id of the run in the service; None before the first contact."""
    recorded_epochs: int
    """Epochs in the spool, sent or not, those before a resumption included."""
    pending_epochs: int
    """Of these, epochs that the service has not committed."""
    skipped_epochs: int
    """Epochs that were not recorded: the spool was full, or an error occurred."""
    problem: str | None
    """Why nothing is sent at present, or why the last epoch was not recorded; None: all works."""

    @property
    def run_url(self) -> str | None:
        """Address of the run's page."""
        return f"{self.url}/runs/{self.run_id}" if self.url and self.run_id else None

    def __str__(self) -> str:
        if self.spool is None:
            return "not recording in this process"
        address = self.run_url or str(self.spool)
        text = (
            f"{self.recorded_epochs} epochs recorded, {self.pending_epochs} to be sent, {address}"
        )
        return f"{text}; {self.problem}" if self.problem else text
