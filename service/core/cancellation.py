"""Cooperative cancellation: long work checks between its passes whether its result is wanted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from service.errors import RequestCancelled

IsWanted = Callable[[], bool]
"""Whether the result is still wanted; once it is not, it stays so."""


def _always() -> bool:
    return True


_is_wanted: ContextVar[IsWanted] = ContextVar("is_wanted", default=_always)


def get_is_wanted() -> IsWanted:
    """The predicate of the current context; by default the result is always wanted."""
    return _is_wanted.get()


def raise_if_cancelled() -> None:
    """Raises RequestCancelled once the current context's result is no longer wanted."""
    if not _is_wanted.get()():
        raise RequestCancelled("The request was cancelled.")


@contextmanager
def cancellable(is_wanted: IsWanted) -> Iterator[None]:
    """A context whose work raises RequestCancelled at its next check after `is_wanted` is False."""
    token = _is_wanted.set(is_wanted)
    try:
        yield
    finally:
        _is_wanted.reset(token)
