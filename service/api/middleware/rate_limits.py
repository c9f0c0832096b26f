"""Rate limits per token or client address: a moving window, which all processes share."""

import time
from dataclasses import dataclass

from service.api.errors import RateLimited
from service.api.sharing import RateWindow, Sharing, parse_rate


@dataclass(frozen=True)
class RateLimit:
    """A limit on requests per time window, counted separately for each key."""

    name: str
    rate: str  # such as 3000/minute
    sharing: Sharing

    def count(self, key: str, headers: dict[str, str]) -> None:
        """Count a request, and set the rate limit headers. Raises RateLimited."""
        window = self.sharing.count_request(self.name, self.rate, key)
        seconds = _reset_seconds(window)
        headers |= {
            "RateLimit-Policy": f'"{self.name}";{self._policy}',
            "RateLimit": f'"{self.name}";r={window.remaining};t={seconds}',
        }
        if not window.is_admitted:
            raise RateLimited(seconds)

    @property
    def _policy(self) -> str:
        """As of draft-ietf-httpapi-ratelimit-headers: the quota, and the window in seconds."""
        item = parse_rate(self.rate)
        return f"q={item.amount};w={item.get_expiry()}"


def _reset_seconds(window: RateWindow) -> int:
    """Seconds until the oldest counted request leaves the window; at least 1."""
    return max(1, round(window.reset_at - time.time() + 0.5))
