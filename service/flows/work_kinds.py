"""Kinds of expensive work, and the thread pool that computes each."""

from collections.abc import Iterable
from dataclasses import dataclass

from service.core.cams.method import Cost
from service.core.cams.methods import MethodSpec
from service.flows.thread_pools import PoolName

CHEAP = frozenset({Cost.FORWARD, Cost.GRADIENT})

MAX_INTERACTIVE_MAPS = 1_500
"""Maps in one interactive computation: the most that the page requests at once."""

MAX_READ_MAPS = 20_000
"""Recorded maps whose rows can be read in about half a second."""


@dataclass(frozen=True)
class WorkKind:
    """A kind of expensive work. Its name is part of the identity of requests and jobs."""

    name: str
    pool: PoolName  # for few maps by cheap methods; all other work runs in the batch pool
    can_use_recorded_rows: bool = False  # recorded rows alone may suffice
    covers_many_epochs: bool = False  # leaves out an epoch that turns out to be damaged

    def fits_reading_pool(self, maps: int) -> bool:
        """Whether reading the rows of `maps` maps is fast enough for the reading pool, whose
        threads resolve all requests.
        """
        return self.can_use_recorded_rows and maps <= MAX_READ_MAPS

    def pool_for(self, methods: Iterable[str], maps: int) -> PoolName:
        """The pool that computes `maps` maps by these methods, given as MethodSpec texts."""
        cheap = all(MethodSpec.parse(text).method.cost in CHEAP for text in methods)
        return self.pool if cheap and maps <= MAX_INTERACTIVE_MAPS else PoolName.BATCH


WORK_KINDS = {
    kind.name: kind
    for kind in (
        WorkKind("cam", PoolName.INTERACTIVE),
        WorkKind("cam.json", PoolName.INTERACTIVE),
        WorkKind("cam.npy", PoolName.INTERACTIVE),
        WorkKind(
            "atlas", PoolName.INTERACTIVE, can_use_recorded_rows=True, covers_many_epochs=True
        ),
        WorkKind(
            "scores", PoolName.INTERACTIVE, can_use_recorded_rows=True, covers_many_epochs=True
        ),
        WorkKind("blanks", PoolName.BATCH, can_use_recorded_rows=True, covers_many_epochs=True),
        WorkKind("blanks.csv", PoolName.BATCH, can_use_recorded_rows=True, covers_many_epochs=True),
        WorkKind("epochs.csv", PoolName.BATCH, can_use_recorded_rows=True),
        WorkKind("strip", PoolName.BATCH, covers_many_epochs=True),
        WorkKind("strip.webp", PoolName.BATCH, covers_many_epochs=True),
        WorkKind("strip.gif", PoolName.BATCH, covers_many_epochs=True),
        WorkKind("strip.npz", PoolName.BATCH, covers_many_epochs=True),
        WorkKind("sheet", PoolName.BATCH, covers_many_epochs=True),
        WorkKind("report", PoolName.BATCH, covers_many_epochs=True),
        WorkKind("evaluation", PoolName.BATCH),
        WorkKind("exchange", PoolName.BATCH),
        WorkKind("exchange-map", PoolName.BATCH),
        WorkKind("class-means", PoolName.BATCH),
        WorkKind("matrix", PoolName.BATCH, can_use_recorded_rows=True, covers_many_epochs=True),
    )
}
"""A new kind is a line here."""
