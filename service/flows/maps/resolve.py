"""Resolving queries: each method reads run, epochs and images in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from service.core.cams.layers import resolve_layers
from service.errors import EpochQuarantined, InvalidValue
from service.flows.maps.explained_run import ExplainedRun, ExplainedRuns
from service.flows.maps.images import ImageReader
from service.flows.maps.inputs import InputReader
from service.flows.maps.predicted_classes import PredictedClasses
from service.flows.maps.request import (
    MapQuery,
    MapRequest,
    MapSeries,
    check_contrast,
    contrast_class,
    find_class,
    parse_method,
)
from service.flows.maps.selection import EpochSelection, select_usable_epochs
from service.store import map_inputs
from service.store.epochs import Epoch
from service.store.images import StoredImage
from service.store.store import Store


class MapResolver:
    """Turns queries into requests. All methods may raise RunNotFound.

    What names something unknown raises EpochNotFound, ImageNotFound, UnknownName or InvalidValue;
    a selection without a usable epoch raises EpochQuarantined.
    """

    def __init__(
        self,
        store: Store,
        runs: ExplainedRuns,
        images: ImageReader,
        classes: PredictedClasses,
    ) -> None:
        self._store = store
        self._images = images
        self._classes = classes
        self._runs = runs
        self._inputs = InputReader(store, runs, images)

    def resolve_map(self, query: MapQuery, epoch: int) -> MapRequest:
        """One map of one epoch."""
        inputs = self._inputs.read(query.run_id, epoch, query.image)
        series = make_series(query, inputs.run, inputs.image)
        require_usable(inputs.epoch)
        return self._at_epoch(series, inputs.epoch)

    def resolve_run(self, run_id: int) -> ExplainedRun:
        """A run, whether it has epochs or not."""
        with self._store.read_session() as session:
            return self._describe(session, run_id)

    def resolve_epoch(self, run_id: int, epoch: int) -> tuple[ExplainedRun, Epoch]:
        """A usable epoch and its run."""
        with self._store.read_session() as session:
            row = map_inputs.get_run_at_epoch(session, run_id, epoch)
            run = self._runs.describe(lambda: session, run_id, row.spec)
        require_usable(row.epoch)
        return run, row.epoch

    def resolve_epochs(self, run_id: int, epochs: str = ":") -> EpochSelection:
        """The usable epochs that a selection names."""
        with self._store.read_session() as session:
            map_inputs.get_spec(session, run_id)
            available = map_inputs.list_epochs(session, run_id)
        return select_usable_epochs(epochs, run_id, available)

    def resolve_series(self, query: MapQuery, epochs: str) -> tuple[MapSeries, EpochSelection]:
        """One image and class over a selection of epochs."""
        (series,), selection = self.resolve_image_series([query], epochs)
        return series, selection

    def resolve_image_series(
        self, queries: Sequence[MapQuery], epochs: str
    ) -> tuple[list[MapSeries], EpochSelection]:
        """One series for each of several queries for one image of one run."""
        run, image, selection = self._resolve_image(queries[0], epochs)
        return [make_series(query, run, image) for query in queries], selection

    def resolve_class_series(
        self, queries: Sequence[MapQuery], epochs: str
    ) -> tuple[list[list[MapSeries]], EpochSelection]:
        """For each query for one image of one run, one series for each class.

        A class that the query contrasts the others with has none.
        """
        run, image, selection = self._resolve_image(queries[0], epochs)
        class_names = run.class_names
        by_query = [
            [
                make_series(replace(query, class_name=class_name), run, image)
                for index, class_name in enumerate(class_names)
                if index != contrast_class(query, class_names)
            ]
            for query in queries
        ]
        return by_query, selection

    def resolve_probe_series(
        self, queries: Sequence[MapQuery], epochs: str
    ) -> tuple[list[list[MapSeries]], EpochSelection]:
        """For each query of one run, one series for each probe, of the probe's own label.

        A probe of the class that the query contrasts the others with has none. Raises InvalidValue
        if these are all.
        """
        run_id = queries[0].run_id
        with self._store.read_session() as session:
            run = self._describe(session, run_id)
            available = map_inputs.list_epochs(session, run_id)
            probes = map_inputs.list_probes(session, run_id)
        selection = select_usable_epochs(epochs, run_id, available)
        return _probe_series(queries, run, probes), selection

    def resolve_probes(self, queries: Sequence[MapQuery]) -> list[list[MapSeries]]:
        """The series of `resolve_probe_series`, also of a run without epochs."""
        with self._store.read_session() as session:
            run = self._describe(session, queries[0].run_id)
            probes = map_inputs.list_probes(session, queries[0].run_id)
        return _probe_series(queries, run, probes)

    def probe_series_like(self, series: MapSeries) -> list[MapSeries]:
        """The run's probes by the series' method and layer, each for its own label."""
        with self._store.read_session() as session:
            probes = map_inputs.list_probes(session, series.run_id)
        target = series.method.target
        excluded_class = target and target.contrast_class
        return [
            replace(series, image=probe, class_index=probe.label)
            for probe in probes
            if excluded_class is None or probe.label != excluded_class
        ]

    def at_selection(
        self, series: Sequence[MapSeries], selection: EpochSelection
    ) -> tuple[list[list[MapRequest]], EpochSelection]:
        """The requests of all series by epoch, and the epochs that they cover.

        Epochs whose checkpoint turns out to be damaged are left out. Raises InvalidValue where a
        contrast is with the class that an epoch predicts.
        """
        classes: list[dict[int, int]] = []
        damage_reasons: dict[int, str] = {}
        for one_series in series:
            by_epoch, new_reasons = self._classes_at(one_series, selection)
            classes.append(by_epoch)
            damage_reasons |= new_reasons
        usable_epochs = selection.without(damage_reasons)
        columns = [
            [
                one_series.at_epoch(epoch, by_epoch[epoch.epoch])
                for one_series, by_epoch in zip(series, classes, strict=True)
            ]
            for epoch in usable_epochs.epochs
        ]
        return columns, usable_epochs

    def _describe(self, session: Any, run_id: int) -> ExplainedRun:
        return self._runs.describe(lambda: session, run_id, map_inputs.get_spec(session, run_id))

    def _resolve_image(
        self, query: MapQuery, epochs: str
    ) -> tuple[ExplainedRun, StoredImage, EpochSelection]:
        version = self._store.read_version()
        with self._store.read_session() as session:
            run = self._describe(session, query.run_id)
            available = map_inputs.list_epochs(session, query.run_id)
            image = self._inputs.find_image(
                lambda: session, version, query.run_id, run, query.image
            )
        selection = select_usable_epochs(epochs, query.run_id, available)
        return run, self._images.complete(run, image), selection

    def _classes_at(
        self, series: MapSeries, selection: EpochSelection
    ) -> tuple[dict[int, int], Mapping[int, str]]:
        if series.class_index is not None:
            return dict.fromkeys(selection.numbers, series.class_index), {}
        classes, damage_reasons = self._classes.of_epochs(series, selection.epochs)
        for class_index in classes.values():
            check_contrast(series.method, class_index)
        return classes, damage_reasons

    def _at_epoch(self, series: MapSeries, epoch: Epoch) -> MapRequest:
        columns, _ = self.at_selection([series], EpochSelection(series.run_id, [epoch], []))
        return columns[0][0]


def require_usable(epoch: Epoch) -> None:
    """Raises EpochQuarantined for an epoch whose checkpoint is not to be used."""
    if epoch.quarantine_reason is not None:
        raise EpochQuarantined(epoch.run_id, epoch.epoch, epoch.quarantine_reason)


def make_series(query: MapQuery, run: ExplainedRun, image: StoredImage) -> MapSeries:
    """A query for an image of a run. Raises InvalidValue and UnknownName."""
    class_names = run.class_names
    method = parse_method(query, class_names)
    layer = resolve_layers(method.method, query.layer, run.layers)
    class_index = image.label
    if query.class_name is not None:
        class_index = find_class("class", query.class_name, class_names)
    if class_index is not None:
        check_contrast(method, class_index)
    return MapSeries(query.run_id, run, image, class_index, method, layer)


def _probe_series(
    queries: Sequence[MapQuery], run: ExplainedRun, probes: Sequence[StoredImage]
) -> list[list[MapSeries]]:
    class_names = run.class_names
    by_query = []
    for query in queries:
        excluded_class = contrast_class(query, class_names)
        series = [
            make_series(query, run, probe)
            for probe in probes
            if excluded_class is None or probe.label != excluded_class
        ]
        if probes and not series:
            raise InvalidValue("contrast_class", "is the class of every probe")
        by_query.append(series)
    return by_query
