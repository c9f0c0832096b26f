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

    _heartbeats: dict[Key, tuple[Heartbeat, float]] = field(default_factory=dict)

    def observe(self, heartbeats: Mapping[Key, Heartbeat], now_seconds: float) -> None:
        """Compare the current heartbeats with the last ones; keys without one are forgotten."""
        previous = self._heartbeats
        self._heartbeats = {}
        for key, heartbeat in heartbeats.items():
            previous_heartbeat = previous.get(key)
            unchanged = previous_heartbeat is not None and previous_heartbeat[0] == heartbeat
            self._heartbeats[key] = (
                previous_heartbeat if previous_heartbeat and unchanged else (heartbeat, now_seconds)
            )

    def stopped_heartbeats(
        self, now_seconds: float, timeout_seconds: float
    ) -> dict[Key, Heartbeat]:
        """Keys whose heartbeat has not changed for longer than the timeout, with the heartbeat."""
        return {
            key: heartbeat
            for key, (heartbeat, since) in self._heartbeats.items()
            if now_seconds - since > timeout_seconds
        }

    def forget(self, key: Key) -> None:
        """Restart the timeout of a key, as if it had never been observed."""
        self._heartbeats.pop(key, None)
