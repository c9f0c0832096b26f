"""Input images: probes and uploads from the store, all others from their dataset."""

import threading
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from service.core.datasets import DATASETS
from service.core.datasets.dataset import Dataset, DatasetInfo, ImageReference, is_upload
from service.core.images import LabeledImage, Pixels, labeled_image, select_image, to_png
from service.core.spec import RunSpec
from service.errors import ImageNotFound, InvalidValue, UnknownName
from service.flows.cache import Cache
from service.flows.cache_sizes import DEFAULT_CACHE_SIZES
from service.flows.compute_permission import require_permission
from service.flows.image_folders import ImageFolders
from service.flows.maps.explained_run import ExplainedRun
from service.flows.maps.record import MapRecorder
from service.store import images, map_inputs
from service.store.images import StoredImage
from service.store.map_inputs import RequestedImage
from service.store.store import Store

MAX_INLINE_READS = 50
"""At most as many images are read from a dataset by work that may not compute."""


@dataclass(frozen=True)
class DatasetImage(StoredImage):
    """An image read from its dataset, with its pixels."""

    pixels: Pixels = field(repr=False, compare=False)


class ImageReader:
    """Reads the input images of runs by reference. Thread-safe."""

    def __init__(
        self,
        store: Store,
        data_dir: Path,
        recorder: MapRecorder,
        cache_bytes: int = DEFAULT_CACHE_SIZES.images,
        folders: ImageFolders | None = None,
    ) -> None:
        self._store = store
        self._data_dir = data_dir
        self._recorder = recorder
        self._folders = folders or ImageFolders(data_dir)
        self._datasets: dict[str, Dataset] = {}  # by RunSpec.image_set
        self._loading = threading.Lock()
        self._images: Cache[StoredImage] = Cache(cache_bytes, lambda image: len(image.png))

    def get(self, dataset: str, reference: str) -> StoredImage:
        """An image of a built-in dataset by its reference, `test:7`, `train:12` or `upload:<id>`.

        Raises InvalidValue, ImageNotFound, UnknownName, DatasetUnavailable.
        """
        if dataset not in DATASETS:
            raise UnknownName("dataset", dataset, DATASETS)
        return self.get_seen(ExplainedRun.of_spec(RunSpec(dataset=dataset)), reference)

    def get_seen(self, run: ExplainedRun, reference: str) -> StoredImage:
        """An image as the network of a run sees it. Raises as `get`, and DatasetChanged."""
        reference = check_reference(run.spec, reference)
        with self._store.read_session() as session:
            image = map_inputs.find_image(session, run.image_set, reference)
        return self.complete(run, image)

    def complete(self, run: ExplainedRun, image: RequestedImage) -> StoredImage:
        """The image that a read transaction found in the store, else the dataset's.

        Notes the use of an upload. Raises ImageNotFound and DatasetUnavailable.
        """
        if not image.use_is_recent:
            self._recorder.note_upload_use(run.image_set, str(image.reference))
        if image.stored_image is not None:
            return image.stored_image
        if image.reference is None:
            raise ImageNotFound("by default", "the run has no probes yet")
        if run.spec is None:
            raise ImageNotFound(
                image.reference, "a recorded run has the images of its probes alone"
            )
        if is_upload(image.reference):
            raise ImageNotFound(
                image.reference, f"nothing was uploaded for {run.spec.dataset} under that name"
            )
        return self._read_from_dataset(run.spec, ImageReference.parse(image.reference))

    def is_loaded(self, image_set: str) -> bool:
        """Whether the images of that set are in memory."""
        return image_set in self._datasets

    def first_test_images(self, run: ExplainedRun, count: int) -> list[StoredImage]:
        """The first `count` test images of a run's dataset.

        Raises InvalidValue where it has fewer, and DatasetUnavailable.
        """
        if run.spec is None:
            raise InvalidValue("images", "a recorded run has the images of its probes alone")
        spec, available = run.spec, run.spec.source.test_size
        if not 1 <= count <= available:
            bounds: dict[str, object] = {"minimum": 1, "maximum": available}
            raise InvalidValue("images", f"{spec.dataset} has {available} test images", bounds)
        references = [ImageReference("test", index) for index in range(count)]
        names = [str(reference) for reference in references]
        with self._store.read_session() as session:
            stored_images = images.get_many(session, spec.image_set, names)
        unread = [
            name
            for name in names
            if name not in stored_images and self._images.peek((spec.image_set, name)) is None
        ]
        if len(unread) > MAX_INLINE_READS:
            require_permission()
        return [
            stored_images.get(str(reference)) or self._read_from_dataset(spec, reference)
            for reference in references
        ]

    def close(self) -> None:
        """Stop the decoder of image folders."""
        self._folders.close()

    def _read_from_dataset(self, spec: RunSpec, reference: ImageReference) -> StoredImage:
        return self._images.get_or_make(
            (spec.image_set, str(reference)), partial(self._load_image, spec, reference)
        )

    def _load_image(self, spec: RunSpec, reference: ImageReference) -> StoredImage:
        if spec.dataset_info is not None:
            image = self._decode_image(spec, spec.dataset_info, reference)
        else:
            image = select_image(self.load_dataset(spec), reference)
        png = to_png(image.pixels)
        return DatasetImage(spec.image_set, str(reference), image.label, png, image.pixels)

    def _decode_image(
        self, spec: RunSpec, info: DatasetInfo, reference: ImageReference
    ) -> LabeledImage:
        """One image of a folder, without the cache of all, which may have been evicted."""
        require_permission()
        pixels, label = self._folders.read_pixels(spec.dataset, info, spec.input, reference)
        return labeled_image(reference, pixels, label)

    def load_dataset(self, spec: RunSpec) -> Dataset:
        """The run's built-in dataset, kept in memory. Raises DatasetUnavailable."""
        name = spec.image_set
        if name in self._datasets:
            return self._datasets[name]
        require_permission()
        with self._loading:
            if name not in self._datasets:
                # A request for an image never starts a download.
                self._datasets[name] = spec.source.load(self._data_dir, False)
            return self._datasets[name]

    def load_images(self, spec: RunSpec) -> Dataset:
        """All images of the run's dataset; those of a folder from their cache, made if missing.

        Raises DatasetUnavailable, DatasetChanged, StoreFull and UploadsBusy.
        """
        require_permission()
        if spec.dataset_info is None:
            return self.load_dataset(spec)
        self._folders.prepare(spec.dataset, spec.dataset_info, spec.input)
        return spec.source.load(self._data_dir, False)


def check_reference(spec: RunSpec | None, reference: str) -> str:
    """The reference in its canonical form. Raises InvalidValue and ImageNotFound.

    `spec` None: a recorded run, whose probes have names of their own.
    """
    if spec is None or is_upload(reference):
        return reference
    return str(ImageReference.parse(reference).require_in(spec.source))
