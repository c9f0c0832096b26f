"""Rate limits per token or client address: a moving window in this process's memory."""

import time
from dataclasses import dataclass, field

import limits
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from service.api.errors import RateLimited


@dataclass(frozen=True)
class RateLimit:
    """A limit on requests per time window, counted separately for each key."""

    name: str
    item: limits.RateLimitItem
    _limiter: MovingWindowRateLimiter = field(
        default_factory=lambda: MovingWindowRateLimiter(MemoryStorage()), repr=False
    )

    @classmethod
    def parse(cls, name: str, rate: str) -> "RateLimit":
        """Parse a rate such as `3000/minute`. Raises ValueError."""
        return cls(name, limits.parse(rate))

    def count(self, key: str) -> dict[str, str]:
        """Count a request; return the rate limit headers. Raises RateLimited."""
        if not self._limiter.hit(self.item, key):
            raise RateLimited(self._reset_seconds(key))
        return self.headers(key)

    def headers(self, key: str) -> dict[str, str]:
        """RateLimit headers (draft-ietf-httpapi-ratelimit-headers): the limit and what remains."""
        remaining = self._limiter.get_window_stats(self.item, key).remaining
        return {
            "RateLimit-Policy": f'"{self.name}";q={self.item.amount};w={self.item.get_expiry()}',
            "RateLimit": f'"{self.name}";r={remaining};t={self._reset_seconds(key)}',
        }

    def _reset_seconds(self, key: str) -> int:
        """Seconds until the oldest counted request leaves the window; at least 1."""
        reset_at = self._limiter.get_window_stats(self.item, key).reset_time
        return max(1, round(reset_at - time.time() + 0.5))
