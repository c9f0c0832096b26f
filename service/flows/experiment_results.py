"""What the runs of an experiment have recorded so far, and how their settings compare."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.core.cams.methods import PAPER_METHODS
from service.core.experiments.alignment import Alignment, Column, Curve, last_common_column
from service.core.experiments.marginals import (
    Marginal,
    SettingResult,
    indistinguishable_settings,
    marginal,
    value_key,
)
from service.core.experiments.measures import (
    RUN_MEASURES,
    Direction,
    EpochResult,
    RunMeasure,
)
from service.core.experiments.plan import ExperimentPlan, value_at
from service.core.experiments.settings import Setting
from service.errors import InvalidValue, UnknownName
from service.flows.cache import Cache
from service.flows.experiments import parse_plan
from service.flows.summaries import default_layer
from service.store import experiments, runs, summaries
from service.store.experiments import Experiment
from service.store.run_status import RunStatus
from service.store.runs import Run
from service.store.store import Store

MAX_CACHED_RUNS = 4_000


@dataclass(frozen=True)
class ExperimentRun:
    """A run of an experiment with its setting and the results of its epochs, from epoch 0."""

    run: Run
    position: int
    setting: Setting
    epochs: Sequence[EpochResult]

    @property
    def seed(self) -> int:
        """The random seed."""
        return int(self.run.spec["seed"])

    @property
    def curve(self) -> Curve:
        """What alignment needs of it."""
        return Curve(
            [epoch.test_loss for epoch in self.epochs], int(self.run.spec["samples_per_epoch"])
        )

    def values(self, epoch: int | None = None) -> dict[str, float | None]:
        """The measures of an epoch, by default the last; all None without epochs."""
        if not self.epochs:
            return dict.fromkeys(RUN_MEASURES)
        result = self.epochs[-1 if epoch is None else epoch]
        return {name: measure.value(result) for name, measure in RUN_MEASURES.items()}


@dataclass(frozen=True)
class BestSetting:
    """The setting with the best mean, and those whose difference from it is noise."""

    setting: Setting
    run_ids: list[int]
    mean: float
    indistinguishable: list[Setting] | None  # None: not known, as each setting has one run


@dataclass(frozen=True)
class SettingComparison:
    """Settings of an experiment compared by their succeeded runs, at one aligned column."""

    alignment: Alignment
    column: Column | None  # None: no run has succeeded, or they have no column in common
    run_count: int  # of runs that are compared
    marginals: dict[str, dict[str, Marginal]]  # by path of the field, and name of the measure
    best: dict[str, BestSetting]  # by name of the measure that has a better direction


class ExperimentResults:
    """Reads results of experiments. Epochs never change, so those of a run are cached."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cache: Cache[Sequence[EpochResult]] = Cache(MAX_CACHED_RUNS, lambda _: 1)

    def get(
        self, experiment_id: int, after_position: int | None = None, limit: int | None = None
    ) -> tuple[Experiment, list[ExperimentRun]]:
        """The experiment and its runs in order of position. Raises ExperimentNotFound."""
        with self._store.read_session() as session:
            experiment = experiments.get(session, experiment_id)
            rows = experiments.list_runs(
                session, experiment_id, after_position=after_position, limit=limit
            )
            results = self._epochs(session, [run for _, run in rows])
        paths = parse_plan(experiment).paths
        return experiment, [
            ExperimentRun(run, position, setting_of(run, paths), results[run.id])
            for position, run in rows
        ]

    def compare(self, experiment_id: int, alignment: Alignment) -> SettingComparison:
        """Marginal means and best settings. Raises ExperimentNotFound."""
        experiment, rows = self.get(experiment_id)
        return compare_settings(parse_plan(experiment), rows, alignment)

    def _epochs(self, session: Any, run_rows: Sequence[Run]) -> dict[int, Sequence[EpochResult]]:
        cached = {run.id: self._cache.get(_key(run)) for run in run_rows}
        missing = [run for run in run_rows if cached[run.id] is None]
        results = {run_id: epochs for run_id, epochs in cached.items() if epochs is not None}
        for start in range(0, len(missing), runs.MAX_IDS_PER_QUERY):
            batch = missing[start : start + runs.MAX_IDS_PER_QUERY]
            for run, epochs in zip(batch, _read_epochs(session, batch), strict=True):
                # Another epoch may have been recorded since the run was read.
                results[run.id] = epochs[: run.epochs_done + 1]
                self._cache.put(_key(run), results[run.id])
        return results


def run_table(
    paths: Sequence[str], rows: Sequence[ExperimentRun]
) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of the table of runs: setting, seed, status, measures of the last epoch."""
    columns = ["run", *paths, "seed", "status", "epochs_done", *RUN_MEASURES]
    values: list[list[object]] = [
        [
            *(row.run.id, *(row.setting[path] for path in paths), row.seed),
            *(row.run.status.value, row.run.epochs_done, *row.values().values()),
        ]
        for row in rows
    ]
    return columns, values


def setting_of(run: Run, paths: Sequence[str]) -> Setting:
    """The values of the fields that vary, as the run's spec has them."""
    return {path: value_at(run.spec, path) for path in paths}


def compare_settings(
    plan: ExperimentPlan, rows: Sequence[ExperimentRun], alignment: Alignment
) -> SettingComparison:
    """Marginal means and best settings of the runs that succeeded, where they align last."""
    compared = [row for row in rows if row.run.status == RunStatus.SUCCEEDED]
    column = last_common_column({row.run.id: row.curve for row in compared}, alignment)
    if column is None:
        return SettingComparison(alignment, None, len(compared), {}, {})
    values = {row.run.id: row.values(column.epochs[row.run.id]) for row in compared}
    is_grid = plan.settings is None and plan.samples is None
    marginals: dict[str, dict[str, Marginal]] = {path: {} for path in plan.paths}
    best = {}
    for name, measure in RUN_MEASURES.items():
        settings = _group_by_setting(compared)
        results = [
            (SettingResult(members[0].setting, numbers), members)
            for members in settings
            if (numbers := [n for m in members if (n := values[m.run.id][name]) is not None])
        ]
        if not results:
            continue
        setting_results = [result for result, _ in results]
        for path in plan.paths:
            marginals[path][name] = marginal(setting_results, path, is_grid=is_grid)
        if measure.direction is not Direction.NEITHER:
            best[name] = _best(measure, setting_results, [members for _, members in results])
    return SettingComparison(alignment, column, len(compared), marginals, best)


def find_measure(name: str) -> RunMeasure:
    """The measure of that name. Raises UnknownName."""
    if name not in RUN_MEASURES:
        raise UnknownName("measure", name, RUN_MEASURES)
    return RUN_MEASURES[name]


def check_path(plan: ExperimentPlan, path: str) -> str:
    """The path of a field that varies. Raises InvalidValue for another one."""
    if path not in plan.paths:
        raise InvalidValue(
            "field",
            f"does not vary in this experiment; one of {', '.join(plan.paths)}",
            allowed={"enum": plan.paths},
            code="unknown_name",
        )
    return path


def _best(
    measure: RunMeasure,
    results: Sequence[SettingResult],
    members: Sequence[Sequence[ExperimentRun]],
) -> BestSetting:
    choose = max if measure.direction is Direction.HIGHER else min
    best = choose(range(len(results)), key=lambda index: results[index].mean)
    noise_indices = indistinguishable_settings(results, best)
    return BestSetting(
        dict(results[best].setting),
        [member.run.id for member in members[best]],
        results[best].mean,
        None
        if noise_indices is None
        else [dict(results[index].setting) for index in noise_indices],
    )


def _group_by_setting(rows: Sequence[ExperimentRun]) -> list[list[ExperimentRun]]:
    groups: dict[str, list[ExperimentRun]] = {}
    for row in rows:
        groups.setdefault(value_key(row.setting), []).append(row)
    return list(groups.values())


def _read_epochs(session: Any, run_rows: Sequence[Run]) -> list[list[EpochResult]]:
    ids = [run.id for run in run_rows]
    counts = summaries.count_blank_maps_by_epoch(session, ids, PAPER_METHODS)
    layers = {run.id: default_layer(session, run) or "" for run in run_rows}
    results: Mapping[int, list[EpochResult]] = {run_id: [] for run_id in ids}
    for row in summaries.list_epochs_of_runs(session, ids):
        shares = {
            method: blank / total
            for method in PAPER_METHODS
            for total, blank in [counts.get((*row[:2], layers[row.run_id], method), (0, 0))]
            if total
        }
        result = EpochResult(
            train_loss=row.train_loss,
            train_accuracy=row.train_accuracy,
            test_loss=row.test_loss,
            test_accuracy=row.test_accuracy,
            per_class_accuracy=row.per_class_accuracy,
            # Epoch 0 trains nothing: its duration is that of the evaluation.
            seconds=row.seconds if row.epoch > 0 else None,
            blank_shares=shares,
        )
        results[row.run_id].append(result)
    return [results[run_id] for run_id in ids]


def _key(run: Run) -> tuple[int, int]:
    return run.id, run.epochs_done
