"""Selections of epochs: `7`, `1,5,9`, `1:100:2` (start:stop:step, stop included)."""

import re
from collections.abc import Mapping, Sequence
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
    reachable_ranges = [range(part.start, min(part.stop, last + 1), part.step) for part in ranges]
    epochs = {epoch for epoch_range in reachable_ranges for epoch in epoch_range}
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
class EpochSelection:
    """Epochs with usable checkpoints, ascending, and the numbers of quarantined ones left out."""

    run_id: int
    epochs: list[Epoch]
    quarantined: list[int]

    @property
    def numbers(self) -> list[int]:
        """The epochs' numbers."""
        return [epoch.epoch for epoch in self.epochs]

    @property
    def checkpoints(self) -> list[tuple[int, str]]:
        """Number and SHA-256 of each epoch: what identifies the networks of the selection."""
        return [(epoch.epoch, epoch.checkpoint.sha256) for epoch in self.epochs]

    def without(self, damage_reasons: Mapping[int, str]) -> "EpochSelection":
        """The selection without epochs that turned out to be damaged.

        Raises EpochQuarantined where no epoch is left.
        """
        if not damage_reasons:
            return self
        usable = [epoch for epoch in self.epochs if epoch.epoch not in damage_reasons]
        if not usable:
            number, reason = next(iter(damage_reasons.items()))
            raise EpochQuarantined(self.run_id, number, reason)
        return EpochSelection(self.run_id, usable, sorted({*self.quarantined, *damage_reasons}))


def select_usable_epochs(text: str, run_id: int, available: Sequence[Epoch]) -> EpochSelection:
    """The epochs of a run that `text` names. Quarantined ones are left out and listed.

    Raises InvalidValue, EpochNotFound, and EpochQuarantined where every epoch is quarantined.
    """
    numbers = set(select_epochs(text, run_id, len(available) - 1))
    epochs = [epoch for epoch in available if epoch.epoch in numbers]
    quarantined = {
        epoch.epoch: epoch.quarantine_reason
        for epoch in epochs
        if epoch.quarantine_reason is not None
    }
    return EpochSelection(run_id, epochs, []).without(quarantined)


def check_cells(rows: int, columns: Sequence[int], limit: int) -> None:
    """Raises InvalidValue where `rows` times `columns` cells are more than `limit`."""
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
