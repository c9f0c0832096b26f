"""Results that are identified before they are computed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.flows.cache import Cache
from service.flows.maps.selection import EpochSelection

T = TypeVar("T")


@dataclass(frozen=True)
class Result(Generic[T]):
    """A computed value, and the identity of what it was computed from.

    Differs from the identity of its `Deferred` only where checkpoints turned out to be damaged:
    then the value covers the other epochs.
    """

    identity: str
    value: T
    quarantined_epochs: Sequence[int] = ()  # requested, and left out of the value


@dataclass(frozen=True)
class Deferred(Generic[T]):
    """A value not computed yet. Equal identities stand for equal values.

    `map_count` is the number of maps that the value is made of.
    """

    identity: str
    make: Callable[[], Result[T]]
    map_count: int = 1
    cache: Cache[Result[T]] | None = None

    def compute(self) -> Result[T]:
        """The result, from the cache if it has one. Raises EpochQuarantined."""
        if self.cache is None:
            return self.make()
        result = self.cache.get_or_make(self.identity, self.make)
        if result.identity != self.identity:
            # A damaged epoch is missing from it, and may be repaired.
            self.cache.discard(self.identity)
        return result

    def peek(self) -> Result[T] | None:
        """The result if it is cached, else None."""
        return None if self.cache is None else self.cache.peek(self.identity)


def defer_over_epochs(
    selection: EpochSelection,
    identify: Callable[[EpochSelection], str],
    compute: Callable[[EpochSelection], tuple[T, EpochSelection]],
    *,
    map_count: int,
) -> Deferred[T]:
    """A value over a selection of epochs.

    `compute` returns the value together with the epochs that it covers: the selection without
    those whose checkpoints it found to be damaged.
    """
    identity = identify(selection)

    def make() -> Result[T]:
        value, usable_epochs = compute(selection)
        covered_identity = identity if usable_epochs is selection else identify(usable_epochs)
        return Result(covered_identity, value, usable_epochs.quarantined)

    return Deferred(identity, make, map_count)
