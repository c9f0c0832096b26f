"""Whether anybody still waits for the work in hand: asked between the passes of long work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from service.errors import RequestCancelled

IsWanted = Callable[[], bool]
"""Whether the work is still wanted; once it is not, it never is again."""


def _to_its_end() -> bool:
    return True


_wanted: ContextVar[IsWanted] = ContextVar("wanted", default=_to_its_end)


def get_is_wanted() -> IsWanted:
    """What tells it of the work in hand; work that nobody set it for is wanted to its end."""
    return _wanted.get()


def raise_if_cancelled() -> None:
    """Go on if the work in hand is still wanted. Raises RequestCancelled."""
    if not _wanted.get()():
        raise RequestCancelled("Nobody waits for the answer any more.")


@contextmanager
def cancellable(is_wanted: IsWanted) -> Iterator[None]:
    """What is done inside ends, at its next check, once `tells` says that it is not wanted."""
    token = _wanted.set(is_wanted)
    try:
        yield
    finally:
        _wanted.reset(token)
