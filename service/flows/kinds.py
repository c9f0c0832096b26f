"""Kinds of expensive work, and the lane that each is computed in."""

from collections.abc import Iterable
from dataclasses import dataclass

from service.core.cams.explanation import MethodSpec
from service.core.cams.method import Cost
from service.flows.lanes import LaneName

CHEAP = frozenset({Cost.FORWARD, Cost.GRADIENT})

MAX_INTERACTIVE_MAPS = 1_500
"""Maps that one interactive computation makes: as many as the page asks for at once."""

MAX_READ_MAPS = 20_000
"""Recorded maps whose rows are read in about half a second."""


@dataclass(frozen=True)
class Kind:
    """A kind of expensive work. Requests and jobs of a kind are told from others by its name."""

    name: str
    lane: LaneName  # of a few maps by cheap methods; everything else is batch work
    from_rows: bool = False  # may be made of recorded rows alone
    of_many_epochs: bool = False  # goes on without an epoch that turns out to be damaged

    def reads(self, maps: int) -> bool:
        """Whether an answer about so many maps may be made of their rows where requests are
        resolved: others wait for that.
        """
        return self.from_rows and maps <= MAX_READ_MAPS

    def lane_for(self, methods: Iterable[str], maps: int) -> LaneName:
        """Where `maps` maps by those methods are computed; they are explanations' texts."""
        cheap = all(MethodSpec.parse(text).method.cost in CHEAP for text in methods)
        return self.lane if cheap and maps <= MAX_INTERACTIVE_MAPS else LaneName.BATCH


KINDS = {
    kind.name: kind
    for kind in (
        Kind("cam", LaneName.INTERACTIVE),
        Kind("cam.json", LaneName.INTERACTIVE),
        Kind("cam.npy", LaneName.INTERACTIVE),
        Kind("atlas", LaneName.INTERACTIVE, from_rows=True, of_many_epochs=True),
        Kind("scores", LaneName.INTERACTIVE, from_rows=True, of_many_epochs=True),
        Kind("blanks", LaneName.BATCH, from_rows=True, of_many_epochs=True),
        Kind("blanks.csv", LaneName.BATCH, from_rows=True, of_many_epochs=True),
        Kind("epochs.csv", LaneName.BATCH, from_rows=True),
        Kind("strip", LaneName.BATCH, of_many_epochs=True),
        Kind("strip.webp", LaneName.BATCH, of_many_epochs=True),
        Kind("strip.gif", LaneName.BATCH, of_many_epochs=True),
        Kind("strip.npz", LaneName.BATCH, of_many_epochs=True),
        Kind("sheet", LaneName.BATCH, of_many_epochs=True),
        Kind("report", LaneName.BATCH, of_many_epochs=True),
        Kind("evaluation", LaneName.BATCH),
    )
}
"""A new kind is a line here."""
