"""Computing maps: from resolved requests, through cached networks, to cached maps."""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from service.core.cams.maps import MEMORY_BYTES, ClassMap, ClassMaps, explain_images
from service.core.models.network import Network
from service.core.parallel import parallel_map
from service.core.progress import track
from service.errors import EpochQuarantined
from service.flows.cache import Cache
from service.flows.cache_sizes import DEFAULT_CACHE_SIZES, CacheSizes
from service.flows.compute_permission import require_permission
from service.flows.maps.explained_run import ExplainedRun
from service.flows.maps.request import MapRequest
from service.flows.networks import Networks
from service.store.epochs import Epoch

Column = Sequence[MapRequest]
"""Requests of one epoch of a run; at least one."""


class MapComputer:
    """Computes maps. Thread-safe: threads that need the same map or network share one computation.

    A call holds at most `memory_bytes` besides its result.
    """

    def __init__(
        self,
        networks: Networks,
        memory_bytes: int = MEMORY_BYTES,
        cache_sizes: CacheSizes = DEFAULT_CACHE_SIZES,
    ) -> None:
        self.memory_bytes = memory_bytes
        self._loader = networks
        self._networks: Cache[Network] = Cache(cache_sizes.networks, lambda network: network.nbytes)
        self._maps: Cache[ClassMaps] = Cache(
            cache_sizes.maps, lambda maps: sum(signed.nbytes for signed in maps.signed.values())
        )

    @property
    def caches(self) -> dict[str, Cache[Any]]:
        """The caches by name, for metrics."""
        return {"networks": self._networks, "maps": self._maps}

    def network(self, epoch: Epoch, run: ExplainedRun | None = None) -> Network:
        """The epoch's network in evaluation mode, shared. Raises EpochQuarantined."""
        spec = None if run is None else run.spec
        return self._networks.get_or_make(
            epoch.checkpoint.sha256, lambda: self._loader.load(epoch, spec)
        )

    def class_map(self, request: MapRequest) -> ClassMap:
        """The requested map. Raises EpochQuarantined and InvalidValue."""
        return select_map(request, self.compute([request])[0])

    def compute(self, column: Column) -> list[ClassMaps]:
        """The maps of each request, cached with those of other classes from the same pass.

        Raises EpochQuarantined and InvalidValue.
        """
        # By key: one pass gives the maps of all classes of an image.
        by_key: dict[Hashable, MapRequest] = {request.cache_key: request for request in column}
        maps = self._maps.get_or_make_each(
            list(by_key), lambda keys: self._explain([by_key[key] for key in keys])
        )
        return [maps[request.cache_key] for request in column]

    def compute_columns(
        self, columns: Sequence[Column]
    ) -> Iterator[list[ClassMaps] | EpochQuarantined]:
        """`compute` of each column in turn, several at once.

        Where a checkpoint turns out to be damaged, the error stands in the place of the maps.
        """
        is_cached = all(request.cache_key in self._maps for column in columns for request in column)
        if not is_cached:
            require_permission()
        compute_all = map if is_cached else parallel_map
        results = compute_all(self._compute_or_error, columns)
        for _, result in zip(track(columns), results, strict=True):
            yield result

    def _compute_or_error(self, column: Column) -> list[ClassMaps] | EpochQuarantined:
        try:
            return self.compute(column)
        except EpochQuarantined as error:
            return error

    def _explain(self, column: Column) -> list[ClassMaps]:
        """Maps by the engine: a call for each layer, methods of one pass, and separate class."""
        require_permission()
        by_pass: dict[tuple[str, tuple[str, ...], int | None], list[int]] = {}
        for index, request in enumerate(column):
            series = request.series
            key = (series.layer, series.jointly_computed_methods, request.separate_class)
            by_pass.setdefault(key, []).append(index)
        maps: dict[int, ClassMaps] = {}
        for (layer, methods, class_index), indices in by_pass.items():
            series = column[indices[0]].series
            block = explain_images(
                self.network(column[0].epoch, series.run),
                [column[index].series.pixels for index in indices],
                layer,
                methods,
                None if class_index is None else [class_index],
                self.memory_bytes,
                series.run.input_spec,
            )
            maps |= {index: block.select_image(i) for i, index in enumerate(indices)}
        return [maps[index] for index in range(len(column))]


def select_map(request: MapRequest, maps: ClassMaps) -> ClassMap:
    """The requested map among those computed with it."""
    return maps.class_map(request.series.method_text, 0, request.class_index)
