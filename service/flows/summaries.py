"""Summaries of runs, for lists of many runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.core.cams.methods import PAPER_METHODS
from service.core.recorded_spec import RecordedSpec, parse_spec
from service.flows.cache import Cache
from service.flows.maps.explained_run import ExplainedRun
from service.store import networks, summaries
from service.store.runs import Run
from service.store.store import Store

MAX_ACCURACIES = 40
MAX_CACHED_RUNS = 2_000


@dataclass(frozen=True)
class BlankShare:
    """The number of maps, and how many of them are blank."""

    total: int
    blank: int


@dataclass(frozen=True)
class RunSummary:
    """Summary of a run's epochs so far."""

    test_accuracy: list[float]  # of at most MAX_ACCURACIES evenly spaced epochs, including the last
    blank: dict[str, BlankShare]  # by method of the paper, at the default layer and threshold


class RunSummaries:
    """Summaries of runs, cached until a run has a new epoch: epochs never change."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cache: Cache[RunSummary] = Cache(MAX_CACHED_RUNS, lambda _: 1)

    def get(self, run_rows: Sequence[Run]) -> list[RunSummary]:
        """A summary for each run, in order; two queries for all that are not cached."""
        cached_summaries = {_key(run): self._cache.get(_key(run)) for run in run_rows}
        computed_summaries = self._compute(
            [run for run in run_rows if cached_summaries[_key(run)] is None]
        )
        for key, summary in computed_summaries.items():
            self._cache.put(key, summary)
        return [cached_summaries[_key(run)] or computed_summaries[_key(run)] for run in run_rows]

    def _compute(self, run_rows: Sequence[Run]) -> dict[tuple[int, int], RunSummary]:
        if not run_rows:
            return {}
        ids = [run.id for run in run_rows]
        with self._store.read_session() as session:
            accuracies = summaries.sample_accuracies(session, ids, MAX_ACCURACIES)
            counts = summaries.count_blank_maps(session, ids, PAPER_METHODS)
            layers = {run.id: default_layer(session, run) for run in run_rows}
        computed_summaries = {}
        for run in run_rows:
            layer = layers[run.id]
            blank = {
                method: BlankShare(*counts.get((run.id, layer or "", method), (0, 0)))
                for method in PAPER_METHODS
            }
            computed_summaries[_key(run)] = RunSummary(accuracies[run.id], blank)
        return computed_summaries


def default_layer(session: Any, run: Run) -> str | None:
    """The layer of the run's maps, unless a request names another; None without positions."""
    spec = parse_spec(run.spec)
    if isinstance(spec, RecordedSpec) or spec.has_program:
        return networks.get_default_layer_of_run(session, run.id)
    return ExplainedRun.of_spec(spec).layers.default_layer


def _key(run: Run) -> tuple[int, int]:
    return run.id, run.epochs_done
