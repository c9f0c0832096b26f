"""Which epochs a client asks for: `7`, `1,5,9`, `1:100:2` (both ends belong to it)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from service.errors import EpochNotFound, EpochQuarantined, InvalidValue
from service.store.epochs import Epoch

MAX_EPOCH = 10_000
_PART = re.compile(r"(\d{1,5})|(\d{0,5}):(\d{0,5})(?::(\d{1,5}))?", flags=re.ASCII)


def select_epochs(text: str, run_id: int, last: int) -> list[int]:
    """Epochs of a run with epochs 0..`last` (-1: none yet) that `text` names, ascending.

    A range takes the epochs that exist; an epoch named singly must exist. Raises InvalidValue for
    a malformed part and for a range that ends before it starts, and EpochNotFound where an epoch,
    or every epoch of the selection, is past `last`.
    """
    parts = [part.strip() for part in text.split(",")]
    ranges = [_epoch_range(part) for part in parts]
    for part, epoch_range in zip(parts, ranges, strict=True):
        if part.isdecimal() and epoch_range.start > last:
            raise EpochNotFound(run_id, epoch_range.start, last)
    reached = [range(part.start, min(part.stop, last + 1), part.step) for part in ranges]
    epochs = {epoch for epoch_range in reached for epoch in epoch_range}
    if not epochs:
        raise EpochNotFound(run_id, min(epoch_range.start for epoch_range in ranges), last)
    return sorted(epochs)


def _epoch_range(part: str) -> range:
    """One part of a selection, `7` or `start:stop:step`. Raises InvalidValue."""
    match = _PART.fullmatch(part)
    if match is None:
        raise _malformed()
    single, start, stop, step = match.groups()
    if single is not None:
        return range(int(single), int(single) + 1)
    first, final = int(start or 0), int(stop or MAX_EPOCH)
    if step is not None and int(step) == 0:
        raise _malformed()
    if final < first:
        raise InvalidValue(
            "epochs",
            f"the range {part} is empty: it starts at {first} and stops at {final}",
            allowed={"minimum": 0, "maximum": MAX_EPOCH},
        )
    return range(first, final + 1, int(step or 1))


@dataclass(frozen=True)
class Chosen:
    """The epochs of a range, and the numbers of those left out because they are quarantined."""

    epochs: list[Epoch]
    quarantined: list[int]


def choose_epochs(text: str, run_id: int, there: Sequence[Epoch]) -> Chosen:
    """Those of a run's epochs that `text` names, for a page of many.

    A quarantined epoch is left out, and told: pages go on without it, and say so. Raises
    InvalidValue, EpochNotFound, and EpochQuarantined where nothing is left.
    """
    wanted = set(select_epochs(text, run_id, len(there) - 1))
    asked = [epoch for epoch in there if epoch.epoch in wanted]
    sound = [epoch for epoch in asked if epoch.quarantine_reason is None]
    if asked and not sound:
        raise EpochQuarantined(run_id, asked[0].epoch, asked[0].quarantine_reason or "")
    return Chosen(sound, [epoch.epoch for epoch in asked if epoch.quarantine_reason is not None])


def check_cells(rows: int, columns: Sequence[int], limit: int) -> None:
    """Raises InvalidValue where a page would have more cells than `limit`."""
    cells = rows * len(columns)
    if cells > limit:
        raise InvalidValue(
            "epochs",
            f"{rows} x {len(columns)} are {cells} cells, and a page has at most {limit}; "
            "take fewer epochs, as in 1:100:2",
            allowed={"maximum_cells": limit},
        )


def _malformed() -> InvalidValue:
    return InvalidValue(
        "epochs",
        "epochs are numbers and ranges such as 7, 1,5,9 or 1:100:2 (start:stop:step, stop "
        f"included, step at least 1, all up to {MAX_EPOCH})",
        allowed={"minimum": 0, "maximum": MAX_EPOCH},
    )
