"""Detection of stopped processes by heartbeats that no longer change, never by the system clock."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Heartbeat = TypeVar("Heartbeat", bound=Hashable)


@dataclass
class HeartbeatMonitor(Generic[Key, Heartbeat]):
    """The last heartbeat of each key, and since when it has not changed, by a monotonic clock.

    A change of the system clock neither hides a stopped process nor stops a live one.
    """

    _last: dict[Key, tuple[Heartbeat, float]] = field(default_factory=dict)

    def observe(self, heartbeats: Mapping[Key, Heartbeat], now_seconds: float) -> None:
        """Compare the current heartbeats with the last ones; keys without one are forgotten."""
        previous = self._last
        self._last = {}
        for key, heartbeat in heartbeats.items():
            last = previous.get(key)
            unchanged = last is not None and last[0] == heartbeat
            self._last[key] = last if last and unchanged else (heartbeat, now_seconds)

    def stopped(self, now_seconds: float, timeout_seconds: float) -> dict[Key, Heartbeat]:
        """Keys whose heartbeat has not changed for longer than the timeout, with the heartbeat."""
        return {
            key: heartbeat
            for key, (heartbeat, since) in self._last.items()
            if now_seconds - since > timeout_seconds
        }

    def forget(self, key: Key) -> None:
        """Restart the timeout of a key, as if it had never been observed."""
        self._last.pop(key, None)
