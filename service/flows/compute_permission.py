"""Whether the current work may compute, or may only read what is cached or recorded."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_is_permitted: ContextVar[bool] = ContextVar("computation_is_permitted", default=True)


class ComputationNotPermitted(Exception):
    """Raised where work inside `read_only` would have to compute. Never reaches a client."""


def require_permission() -> None:
    """Call before anything slower than reading rows. Raises ComputationNotPermitted."""
    if not _is_permitted.get():
        raise ComputationNotPermitted


@contextmanager
def read_only() -> Iterator[None]:
    """Work inside raises ComputationNotPermitted instead of computing or waiting for others."""
    token = _is_permitted.set(False)
    try:
        yield
    finally:
        _is_permitted.reset(token)
