"""How long the runs of a plan will take, from the durations of earlier runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from service.core.experiments.settings import PlannedRun
from service.core.spec import RunSpec
from service.store import runs, summaries
from service.store.run_status import RunSource
from service.store.store import Store

MAX_SEARCHED_RUNS = 500
"""The newest runs among which comparable ones are looked for."""

MAX_BASIS_RUNS = 10
"""Of the comparable runs, the newest, whose median counts."""


@dataclass(frozen=True)
class TimeEstimate:
    """Estimated duration, and the runs that it is from.

    `run_seconds` is the sum over all runs, `seconds` with `parallel_runs` of them at a time.
    """

    run_seconds: float
    seconds: float
    parallel_runs: int
    basis_run_ids: list[int]
    is_scaled: bool  # some runs have no equal one, and were scaled from similar ones


@dataclass(frozen=True)
class _Pace:
    run_id: int
    dataset: str
    architecture: Any
    samples: int
    batch_size: int
    seconds_per_epoch: float


def estimate_time(
    store: Store, run_plans: Sequence[PlannedRun], parallel_runs: int
) -> TimeEstimate | None:
    """The estimate for a plan; None if a run has no comparable earlier one.

    The seconds per epoch of a run are the median of the newest runs with the same dataset,
    architecture, images per epoch and batch size, recording included. Without such runs they are
    scaled by the images per epoch from those with the same dataset and kind of architecture.
    """
    paces = _measure_paces(store)
    total, basis, is_scaled = 0.0, set(), False
    for run in run_plans:
        architecture = run.spec.architecture.model_dump(mode="json")
        equal = [p for p in paces if _is_equal(p, run.spec, architecture)][:MAX_BASIS_RUNS]
        similar = equal or [p for p in paces if _is_similar(p, run.spec)][:MAX_BASIS_RUNS]
        if not similar:
            return None
        is_scaled = is_scaled or not equal
        basis |= {pace.run_id for pace in similar}
        total += run.spec.epochs * median(
            pace.seconds_per_epoch * run.spec.samples_per_epoch / pace.samples for pace in similar
        )
    return TimeEstimate(total, total / parallel_runs, parallel_runs, sorted(basis), is_scaled)


def _measure_paces(store: Store) -> list[_Pace]:
    """Paces of the newest runs that trained an epoch without interruption, newest first."""
    with store.read_session() as session:
        rows = runs.list_newest(session, limit=MAX_SEARCHED_RUNS)
        trained = [run for run in rows if run.source is RunSource.TRAINED and run.attempt == 1]
        seconds = summaries.mean_epoch_seconds(session, [run.id for run in trained])
    return [
        _Pace(
            run.id,
            run.spec["dataset"],
            run.spec["architecture"],
            run.spec["samples_per_epoch"],
            run.spec["batch_size"],
            seconds[run.id],
        )
        for run in trained
        if run.id in seconds
    ]


def _is_equal(pace: _Pace, spec: RunSpec, architecture: Any) -> bool:
    return (
        pace.dataset == spec.dataset
        and pace.architecture == architecture
        and pace.samples == spec.samples_per_epoch
        and pace.batch_size == spec.batch_size
    )


def _is_similar(pace: _Pace, spec: RunSpec) -> bool:
    return pace.dataset == spec.dataset and pace.architecture["name"] == spec.architecture.name
