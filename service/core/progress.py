"""Progress of long work: a fraction that it reports to its caller."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from service.core.cancellation import raise_if_cancelled

Item = TypeVar("Item")


@dataclass(frozen=True)
class _Range:
    """The range of the total progress, 0..1, that the current work covers."""

    report: Callable[[float], None]
    start: float = 0.0
    width: float = 1.0

    def subrange(self, start: float, width: float) -> "_Range":
        return _Range(self.report, self.start + start * self.width, width * self.width)

    def reach(self, share: float) -> None:
        """Reports that a share of the range is done."""
        self.report(self.start + share * self.width)


def _ignore(_: float) -> None:
    return


_range: ContextVar[_Range] = ContextVar("progress")


def _current() -> _Range:
    return _range.get(_Range(_ignore))


@contextmanager
def report_progress_to(report: Callable[[float], None]) -> Iterator[None]:
    """A context in which `report` is called with the completed fraction, 0..1, as it grows."""
    token = _range.set(_Range(report))
    try:
        yield
    finally:
        _range.reset(token)


@contextmanager
def progress_slice(start: float, width: float) -> Iterator[None]:
    """A context whose work is that part of the current work; both are 0..1."""
    parent = _current()
    token = _range.set(parent.subrange(start, width))
    try:
        yield
    finally:
        _range.reset(token)
        parent.reach(start + width)


def track(items: Sequence[Item]) -> Iterator[Item]:
    """The items, each an equal part of the current work. Raises RequestCancelled between items."""
    count, parent = len(items), _current()
    for index, item in enumerate(items):
        raise_if_cancelled()
        # No `finally`: after an exception the generator may be closed in another context.
        _range.set(parent.subrange(index / count, 1 / count))
        yield item
        _range.set(parent)
        parent.reach((index + 1) / count)
