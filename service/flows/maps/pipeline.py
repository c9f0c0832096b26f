"""The steps that all map flows are composed of, wired for one store."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from service.core.cams.maps import MEMORY_BYTES, ClassMap
from service.core.cams.methods import PAPER_METHODS, MethodSpec
from service.errors import EpochQuarantined
from service.flows.cache_sizes import DEFAULT_CACHE_SIZES, CacheSizes
from service.flows.image_folders import ImageFolders
from service.flows.maps.compute import MapComputer
from service.flows.maps.explained_run import ExplainedRuns
from service.flows.maps.images import ImageReader
from service.flows.maps.predicted_classes import PredictedClasses
from service.flows.maps.prefetch import NetworkPrefetcher
from service.flows.maps.record import MapRecorder
from service.flows.maps.request import MapRequest, MapSeries
from service.flows.maps.resolve import MapResolver
from service.flows.maps.rows import MapRows
from service.flows.networks import Networks
from service.store.epochs import Epoch
from service.store.predictions import Prediction
from service.store.store import Store


class MapPipeline:
    """Resolver, computer and recorder of one store; threads share it. `close` ends its threads."""

    def __init__(
        self,
        store: Store,
        data_dir: Path,
        memory_bytes: int = MEMORY_BYTES,
        cache_sizes: CacheSizes = DEFAULT_CACHE_SIZES,
        *,
        is_idle: Callable[[], bool] | None = None,
        folders: ImageFolders | None = None,
    ) -> None:
        """`is_idle`: whether nothing is computed now; without it, no network is prefetched."""
        self.store = store
        self.cache_sizes = cache_sizes
        self.recorder = MapRecorder(store)
        self.images = ImageReader(store, data_dir, self.recorder, cache_sizes.images, folders)
        self.networks = Networks(store)
        self.runs = ExplainedRuns(self.networks)
        self.computer = MapComputer(self.networks, memory_bytes, cache_sizes)
        classes = PredictedClasses(store, self.predict)
        self.resolver = MapResolver(store, self.runs, self.images, classes)
        self.rows = MapRows(store, self.resolver, self.computer, self.recorder)
        self.prefetcher = (
            NetworkPrefetcher(store, self.computer, cache_sizes.networks, is_idle)
            if is_idle
            else None
        )

    def note_map(self, request: MapRequest, class_map: ClassMap) -> None:
        """Store the row of a map that was computed, and prefetch its neighbors; both later."""
        self.recorder.record_later(partial(request.heatmap, class_map.copy()))
        if self.prefetcher is not None:
            self.prefetcher.prefetch_neighbors(request)

    def predict(
        self, series: MapSeries, epochs: Sequence[Epoch]
    ) -> tuple[list[Prediction], Mapping[int, str]]:
        """The predictions for the series' image, computed and recorded.

        With the reasons of epochs whose checkpoint turned out to be damaged.
        """
        # Any method and class would do: each pass gives the scores of all classes.
        proposed = MethodSpec.parse(PAPER_METHODS[0])
        layer = series.run.layers.default_layer
        scores = MapSeries(series.run_id, series.run, series.image, 0, proposed, layer)
        columns = [[scores.at_epoch(epoch, 0)] for epoch in epochs]
        new_predictions: list[Prediction] = []
        damage_reasons: dict[int, str] = {}
        try:
            for epoch, maps in zip(epochs, self.computer.compute_columns(columns), strict=True):
                if isinstance(maps, EpochQuarantined):
                    damage_reasons[epoch.epoch] = maps.reason
                    continue
                reference = series.image.reference
                new_predictions.append(
                    Prediction(series.run_id, epoch.epoch, reference, maps[0].probabilities[0])
                )
        finally:
            self.recorder.record(computed_predictions=new_predictions)
        return new_predictions, damage_reasons

    def close(self) -> None:
        """Store what is still to be recorded, and end the threads."""
        if self.prefetcher is not None:
            self.prefetcher.close()
        self.images.close()
        self.recorder.close()
