"""A cache that is bounded in bytes, and makes each thing once, however many ask at a time."""

import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cachetools import LRUCache

from service.core import cancellation
from service.core.cancellation import IsWanted
from service.flows import computing

T = TypeVar("T")

LOOK_SECONDS = 0.5
"""How often who waits for another's work looks whether it is still waited for itself."""


@dataclass
class _Making(Generic[T]):
    """A thing that is being made, and all that it is made for."""

    wanted: list[IsWanted]
    result: Future[T | None] = field(default_factory=Future)  # None: it could not be made

    def is_wanted(self) -> bool:
        return any(one() for one in self.wanted)

    def wait(self) -> T | None:
        """What became of it. Raises RequestCancelled where nobody waits for who waits here."""
        if not self.result.done():
            computing.require_permission()
        while True:
            try:
                return self.result.result(LOOK_SECONDS)
            except TimeoutError:
                cancellation.raise_if_cancelled()


class Cache(Generic[T]):
    """Least recently used things by key, up to `max_bytes` of them; threads may share it."""

    def __init__(self, max_bytes: int, size: Callable[[T], int]) -> None:
        self._kept: LRUCache[Hashable, T] = LRUCache(max_bytes, getsizeof=size)
        self._lock = threading.Lock()
        self._making: dict[Hashable, _Making[T]] = {}
        self.hits = 0
        self.misses = 0

    def get(self, key: Hashable) -> T | None:
        """The thing, if it is kept."""
        with self._lock:
            return self._counted(key)

    def peek(self, key: Hashable) -> T | None:
        """The same, where a miss does not count: whoever asks makes it by another call."""
        with self._lock:
            thing = self._kept.get(key)
            self.hits += thing is not None
            return thing

    def __contains__(self, key: Hashable) -> bool:
        """Whether it is kept; this counts as no use."""
        with self._lock:
            return key in self._kept

    def put(self, key: Hashable, thing: T) -> None:
        """Keep it, if it is not larger than the whole cache."""
        with self._lock:
            if self._kept.getsizeof(thing) <= self._kept.maxsize:
                self._kept[key] = thing

    def get_or_make(self, key: Hashable, make: Callable[[], T]) -> T:
        """The thing; where it is not kept, the first to ask makes it and the others wait."""
        return self.get_or_make_each([key], lambda _: [make()])[key]

    def get_or_make_each(
        self, keys: Sequence[Hashable], make: Callable[[list[Hashable]], Sequence[T]]
    ) -> dict[Hashable, T]:
        """The same of several at a time: `make` gets those keys that nobody makes yet.

        Where another's `make` raises, who waited for it makes the thing after all: the cause may
        lie in what was made beside it. `make` is wanted as long as anybody waits for what it makes.
        """
        found: dict[Hashable, T] = {}
        wanted = list(dict.fromkeys(keys))
        while wanted:
            cancellation.raise_if_cancelled()
            mine, others = self._claim(wanted, found)
            if mine:
                # Before any waiting: two that wait for each other's would wait for ever.
                found |= self._made(mine, make)
            for key, making in others.items():
                if (thing := making.wait()) is not None:
                    found[key] = thing
            wanted = [key for key in others if key not in found]
        return found

    def _claim(
        self, wanted: Sequence[Hashable], found: dict[Hashable, T]
    ) -> tuple[list[Hashable], dict[Hashable, _Making[T]]]:
        """Put what is kept into `found`; keys that are now the caller's to make, and others'."""
        mine: list[Hashable] = []
        others: dict[Hashable, _Making[T]] = {}
        with self._lock:
            for key in wanted:
                if (thing := self._counted(key)) is not None:
                    found[key] = thing
                elif key in self._making:
                    others[key] = self._making[key]
                    others[key].wanted.append(cancellation.get_is_wanted())
                else:
                    self._making[key] = _Making([cancellation.get_is_wanted()])
                    mine.append(key)
        return mine, others

    def _made(
        self, mine: list[Hashable], make: Callable[[list[Hashable]], Sequence[T]]
    ) -> dict[Hashable, T]:
        things: dict[Hashable, T] = {}
        asked = [self._making[key] for key in mine]
        try:
            with cancellation.cancellable(lambda: any(making.is_wanted() for making in asked)):
                things = dict(zip(mine, make(mine), strict=True))
            for key, thing in things.items():
                self.put(key, thing)
        finally:
            with self._lock:
                waited_for = [(key, self._making.pop(key)) for key in mine]
            for key, making in waited_for:
                making.result.set_result(things.get(key))
        return things

    def _counted(self, key: Hashable) -> T | None:
        thing = self._kept.get(key)
        if thing is None:
            self.misses += 1
        else:
            self.hits += 1
        return thing
