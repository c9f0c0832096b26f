"""What has stopped: told by values that no longer change, never by the machine's clock."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Beat = TypeVar("Beat", bound=Hashable)


@dataclass
class HeartbeatMonitor(Generic[Key, Beat]):
    """The last heartbeat of each key, and since when, by a monotonic clock, it has not changed.

    A clock that is moved takes no live process for a dead one, and no dead one for alive.
    """

    _last: dict[Key, tuple[Beat, float]] = field(default_factory=dict)

    def observe(self, beats: Mapping[Key, Beat], now_seconds: float) -> None:
        """Compare the current heartbeats with the last ones; keys without one are forgotten."""
        previous = self._last
        self._last = {}
        for key, beat in beats.items():
            last = previous.get(key)
            self._last[key] = last if last and last[0] == beat else (beat, now_seconds)

    def stopped(self, now_seconds: float, timeout_seconds: float) -> dict[Key, Beat]:
        """Keys whose heartbeat has not changed for longer than the timeout, with it."""
        return {
            key: beat
            for key, (beat, since) in self._last.items()
            if now_seconds - since > timeout_seconds
        }

    def forget(self, key: Key) -> None:
        """Begin anew with a key, as if it had never been observed."""
        self._last.pop(key, None)
