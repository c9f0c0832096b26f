"""The space of a spool: bounded, and waited for while a sender makes some."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from camreel.errors import SpoolFull
from camreel.recorder.options import FREE_BYTES
from camreel.recorder.problems import Problems
from camreel.spool.folder import Spool, free_bytes

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class SpoolCapacity:
    """How much of a spool may wait to be sent, and what happens beyond it."""

    spool: Spool
    max_bytes: int
    on_full: str
    problems: Problems
    is_sending: Callable[[], bool]
    """Whether a sender makes space: wakes it, and tells whether it is alive."""

    def wait_for(self, size: int) -> bool:
        """Wait until an epoch of that size fits; False if it is to be skipped.

        Raises SpoolFull without a sender, because nobody would make space.
        """
        while reason := self._reason_without_space(size):
            if self.on_full == "skip":
                self.problems.report(f"epochs are skipped: {reason}", kind="skip")
                return False
            if not self.is_sending():
                raise SpoolFull(reason)
            self.problems.report(f"the training waits: {reason}", kind="wait")
            time.sleep(POLL_SECONDS)
        return True

    def _reason_without_space(self, size: int) -> str | None:
        pending_bytes = self.spool.pending_bytes()
        # An epoch alone is recorded whatever its size.
        if pending_bytes and pending_bytes + size > self.max_bytes:
            return f"{self.spool.folder} has reached its {self.max_bytes:,} bytes"
        if free_bytes(self.spool.folder) < size + FREE_BYTES:
            return f"the disk of {self.spool.folder} is full"
        return None
