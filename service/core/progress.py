"""How far the work in hand is: a fraction that long work reports, to whoever started it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from service.core.cancellation import raise_if_cancelled

Item = TypeVar("Item")


@dataclass(frozen=True)
class _Range:
    """The part of the whole work, 0..1, that the work in hand is."""

    report: Callable[[float], None]
    start: float = 0.0
    width: float = 1.0

    def part(self, start: float, width: float) -> "_Range":
        return _Range(self.report, self.start + start * self.width, width * self.width)

    def reach(self, share: float) -> None:
        """That share of it is done."""
        self.report(self.start + share * self.width)


def _ignore(_: float) -> None:
    """Nobody follows the work."""


_range: ContextVar[_Range] = ContextVar("progress")


def _current() -> _Range:
    return _range.get(_Range(_ignore))


@contextmanager
def report_progress_to(report: Callable[[float], None]) -> Iterator[None]:
    """Inside, `report` gets the fraction that is done, 0..1, whenever it grows."""
    token = _range.set(_Range(report))
    try:
        yield
    finally:
        _range.reset(token)


@contextmanager
def progress_slice(start: float, width: float) -> Iterator[None]:
    """What is done inside is that part of the work in hand; both are 0..1."""
    whole = _current()
    token = _range.set(whole.part(start, width))
    try:
        yield
    finally:
        _range.reset(token)
        whole.reach(start + width)


def track(items: Sequence[Item]) -> Iterator[Item]:
    """The items, each an equal part of the work in hand.

    Raises RequestCancelled between two of them once the work is not wanted any more.
    """
    count, whole = len(items), _current()
    for index, item in enumerate(items):
        raise_if_cancelled()
        # No `finally`: a loop that raises leaves this generator to be closed in another context.
        _range.set(whole.part(index / count, 1 / count))
        yield item
        _range.set(whole)
        whole.reach((index + 1) / count)
