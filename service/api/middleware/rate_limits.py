"""How often one token, or one address, may ask: a moving window, kept in this process."""

import time
from dataclasses import dataclass, field

import limits
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from service.errors import RateLimited


@dataclass(frozen=True)
class RateLimit:
    """So many requests in so many seconds, counted by key. Its name tells it from others."""

    name: str
    item: limits.RateLimitItem
    _limiter: MovingWindowRateLimiter = field(
        default_factory=lambda: MovingWindowRateLimiter(MemoryStorage()), repr=False
    )

    @classmethod
    def parse(cls, name: str, rate: str) -> "RateLimit":
        """From words: `3000/minute`. Raises ValueError for others."""
        return cls(name, limits.parse(rate))

    def count(self, key: str) -> dict[str, str]:
        """Count a request, and tell what is left in headers. Raises RateLimited."""
        if not self._limiter.hit(self.item, key):
            raise RateLimited(self._seconds(key))
        return self.headers(key)

    def headers(self, key: str) -> dict[str, str]:
        """The limit and what is left of it, as the draft on RateLimit fields has them."""
        left = self._limiter.get_window_stats(self.item, key).remaining
        return {
            "RateLimit-Policy": f'"{self.name}";q={self.item.amount};w={self.item.get_expiry()}',
            "RateLimit": f'"{self.name}";r={left};t={self._seconds(key)}',
        }

    def _seconds(self, key: str) -> int:
        """Until the oldest request that is counted is counted no more; at least 1."""
        reset = self._limiter.get_window_stats(self.item, key).reset_time
        return max(1, round(reset - time.time() + 0.5))
