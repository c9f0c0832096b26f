"""A cache that is bounded in bytes, and makes each thing once, however many ask at a time."""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from cachetools import LRUCache

T = TypeVar("T")


class Cache(Generic[T]):
    """Least recently used things by key, up to `max_bytes` of them; threads may share it."""

    def __init__(self, max_bytes: int, size: Callable[[T], int]) -> None:
        self._kept: LRUCache[Hashable, T] = LRUCache(max_bytes, getsizeof=size)
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}
        self.hits = 0
        self.misses = 0

    def get(self, key: Hashable) -> T | None:
        """The thing, if it is kept."""
        with self._lock:
            return self._counted(key)

    def put(self, key: Hashable, thing: T) -> None:
        """Keep it, if it is not larger than the whole cache."""
        with self._lock:
            if self._kept.getsizeof(thing) <= self._kept.maxsize:
                self._kept[key] = thing

    def get_or_make(self, key: Hashable, make: Callable[[], T]) -> T:
        """The thing; where it is not kept, the first to ask makes it and the others wait."""
        with self._lock:
            if (thing := self._counted(key)) is not None:
                return thing
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                thing = self._kept.get(key)
            if thing is None:
                thing = make()
                self.put(key, thing)
        with self._lock:
            self._making.pop(key, None)
        return thing

    def _counted(self, key: Hashable) -> T | None:
        thing = self._kept.get(key)
        if thing is None:
            self.misses += 1
        else:
            self.hits += 1
        return thing
