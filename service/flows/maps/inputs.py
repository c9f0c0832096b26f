"""Reading what a map is resolved from, kept in memory until the next commit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from service.core.datasets.dataset import is_upload
from service.core.recorded_spec import training_spec
from service.core.spec import RunSpec
from service.flows.maps.images import ImageReader, check_reference
from service.store import map_inputs
from service.store.data_version import ReadCache, Version
from service.store.epochs import Epoch
from service.store.images import StoredImage
from service.store.map_inputs import RequestedImage
from service.store.store import Store

MAX_EPOCHS = 1_000
MAX_RUNS = 100
MAX_DATASETS = 100

NewSession = Callable[[], Any]


@dataclass(frozen=True)
class MapInputs:
    """The spec of a run, one of its epochs, and an image."""

    spec: RunSpec
    epoch: Epoch
    image: StoredImage


class InputReader:
    """Reads the inputs of single maps, in one transaction or in none. Thread-safe."""

    def __init__(self, store: Store, images: ImageReader) -> None:
        self._store = store
        self._images = images
        self._epochs: ReadCache[tuple[RunSpec, Epoch]] = ReadCache(MAX_EPOCHS)
        self._first_probes: ReadCache[RequestedImage] = ReadCache(MAX_RUNS)
        self._references: ReadCache[frozenset[str]] = ReadCache(MAX_DATASETS)

    def read(self, run_id: int, epoch: int, reference: str | None) -> MapInputs:
        """The inputs of a map; `reference` None is the run's first probe.

        Raises RunNotFound, EpochNotFound, ImageNotFound, InvalidValue and DatasetUnavailable.
        """
        version = self._store.read_version()
        with self._store.lazy_read_session() as session:
            spec, run_epoch = self._epochs.get_or_read(
                version, (run_id, epoch), lambda: _read_epoch(session, run_id, epoch)
            )
            image = self.find_image(session, version, run_id, spec.dataset, reference)
        return MapInputs(spec, run_epoch, self._images.complete(spec.dataset, image))

    def find_image(
        self,
        session: NewSession,
        version: Version | None,
        run_id: int,
        dataset: str,
        reference: str | None,
    ) -> RequestedImage:
        """The image as far as the store has it; `reference` None is the run's first probe.

        A stored image has precedence over the dataset's, which may have been replaced. `version` is
        that of the database before `session` began. Raises ImageNotFound and InvalidValue.
        """
        if reference is None:
            return self._first_probes.get_or_read(
                version, run_id, lambda: map_inputs.find_first_probe(session(), run_id)
            )
        reference = check_reference(dataset, reference)
        if version is not None and self._images.is_loaded(dataset) and not is_upload(reference):
            references = self._references.get_or_read(
                version, dataset, lambda: map_inputs.list_references(session(), dataset)
            )
            if reference not in references:
                return RequestedImage(reference, None)
        return map_inputs.find_image(session(), dataset, reference)


def _read_epoch(session: NewSession, run_id: int, epoch: int) -> tuple[RunSpec, Epoch]:
    run = map_inputs.get_run_at_epoch(session(), run_id, epoch)
    return training_spec(run.spec), run.epoch
