"""The matrix of an experiment: mean maps by the value of a field and over the epochs."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from service.core.cams.maps import Blank, Floats
from service.core.cams.methods import PAPER_METHODS
from service.core.experiments.alignment import MAX_COLUMNS, Alignment, Column, align
from service.core.experiments.marginals import group_by_value
from service.core.experiments.mean_maps import mean_map, place_map
from service.core.images import from_png
from service.core.render.cells import image_rgb
from service.errors import InvalidValue, UnknownName
from service.flows.experiment_results import (
    ExperimentResults,
    ExperimentRun,
    check_path,
    find_measure,
)
from service.flows.experiments import parse_plan
from service.flows.identity import identity_of
from service.flows.maps.deferred import Deferred, Result
from service.flows.maps.explained_run import ExplainedRun
from service.flows.maps.pipeline import MapPipeline
from service.flows.recording import ENGINE_VERSION
from service.store import heatmaps, images
from service.store.experiments import Experiment
from service.store.heatmaps import ProbeLevels

MATRIX_VERSION = 1
"""Part of every matrix's identity: raised when the same request would give another answer."""

MAP_SIDE = 56
"""Side of a mean map: twice that of MNIST's images."""

DEFAULT_METHOD = "proposed"
MAX_ROWS = 24

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class MatrixQuery:
    """What a matrix shows. `field` None: the first field that varies."""

    experiment_id: int
    field: str | None = None
    alignment: Alignment = Alignment.EPOCH
    columns: int = 8
    method: str = DEFAULT_METHOD
    class_index: int = 0  # whose probes' maps are averaged
    image: str | None = None  # the one probe whose maps are averaged, instead of a class
    measure: str = "test_accuracy"


@dataclass(frozen=True)
class MatrixCell:
    """Means over the runs that have a value of the field and reach a column."""

    run_epochs: dict[int, int]  # epoch by run
    map_count: int
    blank_count: int
    mean: Floats | None  # (MAP_SIDE, MAP_SIDE), 0..1; None if no map is there or all are blank
    measure: float | None


@dataclass(frozen=True)
class MatrixRow:
    """A value of the field, or [lowest, highest] of a group of samples."""

    value: JsonValue
    run_ids: list[int]
    cells: list[MatrixCell]


@dataclass(frozen=True)
class Matrix:
    """Mean maps of an experiment."""

    experiment: Experiment
    query: MatrixQuery
    field: str
    class_name: str
    columns: list[Column]
    rows: list[MatrixRow]
    image: Bytes  # RGB (MAP_SIDE, MAP_SIDE, 3): the mean of the probes


class ExperimentMatrices:
    """Computes matrices from the maps that runs record with every epoch."""

    def __init__(self, pipeline: MapPipeline, results: ExperimentResults) -> None:
        self._pipeline = pipeline
        self._results = results

    def matrix(self, query: MatrixQuery) -> Deferred[Matrix]:
        """The matrix of what is recorded now.

        Raises ExperimentNotFound, UnknownName, and InvalidValue for a field that does not vary, a
        class or image that the probes do not have, and for more than MAX_ROWS values.
        """
        if query.method not in PAPER_METHODS:
            raise UnknownName("method", query.method, PAPER_METHODS)
        find_measure(query.measure)
        if not 1 <= query.columns <= MAX_COLUMNS:
            raise InvalidValue("columns", f"must be 1 to {MAX_COLUMNS}")
        experiment, rows = self._results.get(query.experiment_id)
        plan = parse_plan(experiment)
        if not plan.paths:
            raise InvalidValue("field", "no field varies in this experiment")
        field = check_path(plan, query.field or plan.paths[0])
        groups = group_by_value(
            [row.setting.get(field) for row in rows], merges_numbers=plan.samples is not None
        )
        if len(groups) > MAX_ROWS:
            raise InvalidValue(
                "field", f"has {len(groups)} values, and a matrix at most {MAX_ROWS}"
            )
        states = [(row.run.id, row.run.epochs_done, row.run.experiment_id) for row in rows]
        identity = identity_of("matrix", MATRIX_VERSION, ENGINE_VERSION, query, experiment, states)

        def make() -> Result[Matrix]:
            members = [(value, [rows[index] for index in indices]) for value, indices in groups]
            return Result(identity, self._compute(experiment, query, field, members))

        columns = min(query.columns, max((len(row.epochs) for row in rows), default=0))
        return Deferred(identity, make, map_count=len(rows) * columns)

    def _compute(
        self,
        experiment: Experiment,
        query: MatrixQuery,
        field: str,
        members: Sequence[tuple[JsonValue, Sequence[ExperimentRun]]],
    ) -> Matrix:
        runs_of_field = [row for _, group in members for row in group]
        curves = {row.run.id: row.curve for row in runs_of_field}
        columns = align(curves, query.alignment, query.columns)
        probe_set = self._probes(query, runs_of_field)
        rows = [
            MatrixRow(value, [row.run.id for row in group], self._cells(query, group, columns))
            for value, group in members
        ]
        return Matrix(experiment, query, field, probe_set[0], columns, rows, probe_set[1])

    def _cells(
        self, query: MatrixQuery, group: Sequence[ExperimentRun], columns: Sequence[Column]
    ) -> list[MatrixCell]:
        measure = find_measure(query.measure)
        maps: list[list[Floats]] = [[] for _ in columns]
        counts, blanks = [0] * len(columns), [0] * len(columns)
        values: list[list[float]] = [[] for _ in columns]
        for row in group:
            epochs = sorted({c.epochs[row.run.id] for c in columns if row.run.id in c.epochs})
            run_maps = self._maps(query, row, epochs)
            for index, column in enumerate(columns):
                epoch = column.epochs.get(row.run.id)
                if epoch is None:
                    continue
                epoch_maps = run_maps.get(epoch, [])
                counts[index] += len(epoch_maps)
                blanks[index] += sum(class_map is None for class_map in epoch_maps)
                maps[index] += [class_map for class_map in epoch_maps if class_map is not None]
                if (value := measure.value(row.epochs[epoch])) is not None:
                    values[index].append(value)
        run_ids = {row.run.id for row in group}
        return [
            MatrixCell(
                {run: epoch for run, epoch in column.epochs.items() if run in run_ids},
                counts[index],
                blanks[index],
                mean_map(maps[index], blanks[index]) if maps[index] else None,
                fmean(values[index]) if values[index] else None,
            )
            for index, column in enumerate(columns)
        ]

    def _maps(
        self, query: MatrixQuery, row: ExperimentRun, epochs: Sequence[int]
    ) -> dict[int, list[Floats | None]]:
        """By epoch the placed maps of the run's probes; None for a blank one."""
        if not epochs:
            return {}
        with self._pipeline.store.read_session() as session:
            run = self._describe(session, row)
            layer = run.layers.default_layer
            rows = heatmaps.list_probe_levels(
                session,
                row.run.id,
                layer,
                query.method,
                epochs,
                class_index=query.class_index if query.image is None else None,
                image=query.image,
            )
        maps: dict[int, list[Floats | None]] = {}
        for levels in rows:
            maps.setdefault(levels.epoch, []).append(_place_levels(run, layer, levels))
        return maps

    def _probes(self, query: MatrixQuery, rows: Sequence[ExperimentRun]) -> tuple[str, Bytes]:
        """The name of the class or image, and the mean image of those probes of the first run
        that has started.
        """
        for row in rows:
            with self._pipeline.store.read_session() as session:
                probes = images.list_probes(session, row.run.id)
                run = self._describe(session, row) if probes else None
            if run is None:
                continue
            selected = [
                probe
                for probe in probes
                if (
                    probe.label == query.class_index
                    if query.image is None
                    else probe.reference == query.image
                )
            ]
            if not selected:
                raise _missing_probe(query, [probe.reference for probe in probes], run)
            pictures = [image_rgb(from_png(probe.png), MAP_SIDE) for probe in selected]
            mean = np.rint(np.mean(pictures, axis=0)).astype(np.uint8)
            label = selected[0].label
            return (run.class_names[label] if label is not None else selected[0].reference), mean
        return "", np.zeros((MAP_SIDE, MAP_SIDE, 3), np.uint8)

    def _describe(self, session: Any, row: ExperimentRun) -> ExplainedRun:
        return self._pipeline.runs.describe(lambda: session, row.run.id, row.run.spec)


def _place_levels(run: ExplainedRun, layer: str, row: ProbeLevels) -> Floats | None:
    if row.blank != Blank.NONE:
        return None
    levels = np.frombuffer(row.levels, np.uint8).reshape(row.height, row.width)
    _, height, width = run.image_shape
    placement = run.layers.placements[layer]
    return place_map(levels, (row.minimum, row.peak), placement, (height, width), MAP_SIDE)


def _missing_probe(
    query: MatrixQuery, references: Sequence[str], run: ExplainedRun
) -> InvalidValue:
    if query.image is not None:
        message = f"is not a probe of the runs; one of {', '.join(references[:20])}"
        return InvalidValue("image", message, code="unknown_name")
    return InvalidValue(
        "class_index",
        f"no probe of the runs is of that class; their classes are 0 to {len(run.class_names) - 1}",
        allowed={"minimum": 0, "maximum": len(run.class_names) - 1},
    )
