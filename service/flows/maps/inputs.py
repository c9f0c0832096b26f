"""Reading what a map is resolved from, kept in memory until the next commit."""

from dataclasses import dataclass

from service.core.datasets.dataset import is_upload
from service.flows.maps.explained_run import ExplainedRun, ExplainedRuns, NewSession
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


@dataclass(frozen=True)
class MapInputs:
    """A run, one of its epochs, and an image."""

    run: ExplainedRun
    epoch: Epoch
    image: StoredImage


class InputReader:
    """Reads the inputs of single maps, in one transaction or in none. Thread-safe."""

    def __init__(self, store: Store, runs: ExplainedRuns, images: ImageReader) -> None:
        self._store = store
        self._runs = runs
        self._images = images
        self._epochs: ReadCache[tuple[ExplainedRun, Epoch]] = ReadCache(MAX_EPOCHS)
        self._first_probes: ReadCache[RequestedImage] = ReadCache(MAX_RUNS)
        self._references: ReadCache[frozenset[str]] = ReadCache(MAX_DATASETS)

    def read(self, run_id: int, epoch: int, reference: str | None) -> MapInputs:
        """The inputs of a map; `reference` None is the run's first probe.

        Raises RunNotFound, EpochNotFound, ImageNotFound, InvalidValue and DatasetUnavailable.
        """
        version = self._store.read_version()
        with self._store.lazy_read_session() as session:
            run, run_epoch = self._epochs.get_or_read(
                version, (run_id, epoch), lambda: self._read_epoch(session, run_id, epoch)
            )
            image = self.find_image(session, version, run_id, run, reference)
        return MapInputs(run, run_epoch, self._images.complete(run, image))

    def find_image(
        self,
        session: NewSession,
        version: Version | None,
        run_id: int,
        run: ExplainedRun,
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
        reference, image_set = check_reference(run.spec, reference), run.image_set
        if version is not None and self._images.is_loaded(image_set) and not is_upload(reference):
            references = self._references.get_or_read(
                version, image_set, lambda: map_inputs.list_references(session(), image_set)
            )
            if reference not in references:
                return RequestedImage(reference, None)
        return map_inputs.find_image(session(), image_set, reference)

    def _read_epoch(
        self, session: NewSession, run_id: int, epoch: int
    ) -> tuple[ExplainedRun, Epoch]:
        row = map_inputs.get_run_at_epoch(session(), run_id, epoch)
        return self._runs.describe(session, run_id, row.spec), row.epoch
