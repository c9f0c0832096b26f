"""Pages over many epochs go on without the bad ones, and say which they are."""

import functools
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from service.errors import CheckpointCorrupt

HEADER = "X-Cam-Quarantined"

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


def without_bad_epochs(endpoint: Callable[Asked, Answer]) -> Callable[Asked, Answer]:
    """Of an endpoint over many epochs: called again when one of them turns out to be bad.

    The epoch is set aside by then, so the next call leaves it out: there are at most as many calls
    as epochs.
    """

    @functools.wraps(endpoint)
    def again(*args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
        while True:
            try:
                return endpoint(*args, **kwargs)
            except CheckpointCorrupt as error:
                if not error.just_found:
                    raise

    return again


def quarantine_header(epochs: Sequence[int]) -> dict[str, str]:
    """`X-Cam-Quarantined: 3,7`: epochs that were asked for and left out; none, no header."""
    return {HEADER: ",".join(map(str, epochs))} if epochs else {}
