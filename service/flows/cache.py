"""A cache bounded in bytes that makes each value once, however many threads ask for it."""

import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cachetools import LRUCache

from service.core import cancellation
from service.core.cancellation import IsWanted
from service.flows.compute_permission import require_permission

T = TypeVar("T")

CANCELLATION_POLL_SECONDS = 0.5


@dataclass
class _PendingValue(Generic[T]):
    """A value that one thread is making, and the cancellation checks of all who wait for it."""

    checks: list[IsWanted]
    future: Future[T | None] = field(default_factory=Future)  # None: making it failed

    def is_wanted(self) -> bool:
        return any(is_wanted() for is_wanted in self.checks)

    def wait(self) -> T | None:
        """The value, or None if making it failed. Raises RequestCancelled."""
        if not self.future.done():
            require_permission()
        while True:
            try:
                return self.future.result(CANCELLATION_POLL_SECONDS)
            except TimeoutError:
                cancellation.raise_if_cancelled()


class Cache(Generic[T]):
    """Values by key, least recently used first out, at most `max_bytes` of them. Thread-safe."""

    def __init__(self, max_bytes: int, size: Callable[[T], int]) -> None:
        self._values: LRUCache[Hashable, T] = LRUCache(max_bytes, getsizeof=size)
        self._lock = threading.Lock()
        self._pending: dict[Hashable, _PendingValue[T]] = {}
        self.hits = 0
        self.misses = 0

    def get(self, key: Hashable) -> T | None:
        """The value if it is cached, else None."""
        with self._lock:
            return self._get_counted(key)

    def peek(self, key: Hashable) -> T | None:
        """The value if it is cached, else None; only a hit counts in the statistics."""
        with self._lock:
            value = self._values.get(key)
            self.hits += value is not None
            return value

    def __contains__(self, key: Hashable) -> bool:
        """Whether the value is cached; counts as no use of it."""
        with self._lock:
            return key in self._values

    def put(self, key: Hashable, value: T) -> None:
        """Cache the value, unless it is larger than the whole cache."""
        with self._lock:
            if self._values.getsizeof(value) <= self._values.maxsize:
                self._values[key] = value

    def discard(self, key: Hashable) -> None:
        """Forget the value of a key, if it is cached."""
        with self._lock:
            self._values.pop(key, None)

    def get_or_make(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value; if it is not cached, the first thread makes it and the others wait."""
        return self.get_or_make_each([key], lambda _: [make()])[key]

    def get_or_make_each(
        self, keys: Sequence[Hashable], make: Callable[[list[Hashable]], Sequence[T]]
    ) -> dict[Hashable, T]:
        """Several values; `make` gets the keys that no other thread is making.

        Where another thread's `make` raises, a waiting thread makes the value itself: the cause
        may lie in another key of the same call. `make` runs on while any waiter wants its values.
        """
        values: dict[Hashable, T] = {}
        missing = list(dict.fromkeys(keys))
        while missing:
            cancellation.raise_if_cancelled()
            own_keys, pending = self._claim(missing, values)
            if own_keys:
                # Before any waiting: two threads that wait for each other would never end.
                values |= self._make(own_keys, make)
            for key, pending_value in pending.items():
                if (value := pending_value.wait()) is not None:
                    values[key] = value
            missing = [key for key in pending if key not in values]
        return values

    def _claim(
        self, keys: Sequence[Hashable], values: dict[Hashable, T]
    ) -> tuple[list[Hashable], dict[Hashable, _PendingValue[T]]]:
        """Add cached values to `values`; the keys this thread has to make, and pending ones."""
        own_keys: list[Hashable] = []
        pending: dict[Hashable, _PendingValue[T]] = {}
        with self._lock:
            for key in keys:
                if (value := self._get_counted(key)) is not None:
                    values[key] = value
                elif key in self._pending:
                    pending[key] = self._pending[key]
                    pending[key].checks.append(cancellation.get_is_wanted())
                else:
                    self._pending[key] = _PendingValue([cancellation.get_is_wanted()])
                    own_keys.append(key)
        return own_keys, pending

    def _make(
        self, keys: list[Hashable], make: Callable[[list[Hashable]], Sequence[T]]
    ) -> dict[Hashable, T]:
        values: dict[Hashable, T] = {}
        pending = [self._pending[key] for key in keys]
        try:
            with cancellation.cancellable(lambda: any(value.is_wanted() for value in pending)):
                values = dict(zip(keys, make(keys), strict=True))
            for key, value in values.items():
                self.put(key, value)
        finally:
            with self._lock:
                finished = [(key, self._pending.pop(key)) for key in keys]
            for key, pending_value in finished:
                pending_value.future.set_result(values.get(key))
        return values

    def _get_counted(self, key: Hashable) -> T | None:
        value = self._values.get(key)
        if value is None:
            self.misses += 1
        else:
            self.hits += 1
        return value
