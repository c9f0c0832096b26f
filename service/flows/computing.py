"""Whether the work in hand may compute, or only read what was computed or recorded before."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_permitted: ContextVar[bool] = ContextVar("computation_permitted", default=True)


class NotRecorded(Exception):
    """Raised by work that may not compute where it would have to. Never shown to a client."""


def require_permission() -> None:
    """To be called before anything that takes longer than reading rows. Raises NotRecorded."""
    if not _permitted.get():
        raise NotRecorded


@contextmanager
def reading_only() -> Iterator[None]:
    """What is done inside raises NotRecorded instead of computing, or of waiting for others."""
    token = _permitted.set(False)
    try:
        yield
    finally:
        _permitted.reset(token)
