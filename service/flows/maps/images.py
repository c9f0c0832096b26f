"""Input images: probes and uploads from the store, all others from their dataset."""

import threading
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from service.core.datasets import DATASETS
from service.core.datasets.dataset import Dataset, ImageReference, is_upload
from service.core.images import Pixels, select_image, to_png
from service.errors import ImageNotFound, UnknownName
from service.flows.cache import Cache
from service.flows.cache_sizes import DEFAULT_CACHE_SIZES
from service.flows.compute_permission import require_permission
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
    """Reads input images by reference. Thread-safe."""

    def __init__(
        self,
        store: Store,
        data_dir: Path,
        recorder: MapRecorder,
        cache_bytes: int = DEFAULT_CACHE_SIZES.images,
    ) -> None:
        self._store = store
        self._data_dir = data_dir
        self._recorder = recorder
        self._datasets: dict[str, Dataset] = {}
        self._loading = threading.Lock()
        self._images: Cache[StoredImage] = Cache(cache_bytes, lambda image: len(image.png))

    def get(self, dataset: str, reference: str) -> StoredImage:
        """An image by its reference, `test:7`, `train:12` or `upload:<id>`.

        Raises InvalidValue, ImageNotFound, UnknownName, DatasetUnavailable.
        """
        reference = check_reference(dataset, reference)
        with self._store.read_session() as session:
            image = map_inputs.find_image(session, dataset, reference)
        return self.complete(dataset, image)

    def complete(self, dataset: str, image: RequestedImage) -> StoredImage:
        """The image that a read transaction found in the store, else the dataset's.

        Notes the use of an upload. Raises ImageNotFound and DatasetUnavailable.
        """
        if not image.use_is_recent:
            self._recorder.note_upload_use(dataset, str(image.reference))
        if image.stored_image is not None:
            return image.stored_image
        if image.reference is None:
            raise ImageNotFound("by default", "the run has no probes yet")
        if is_upload(image.reference):
            raise ImageNotFound(
                image.reference, f"nothing was uploaded for {dataset} under that name"
            )
        return self._read_from_dataset(dataset, ImageReference.parse(image.reference))

    def is_loaded(self, dataset: str) -> bool:
        """Whether the dataset is in memory."""
        return dataset in self._datasets

    def first_test_images(self, dataset: str, count: int) -> list[StoredImage]:
        """The first `count` test images of a dataset. Raises UnknownName, DatasetUnavailable."""
        _check_dataset(dataset)
        references = [ImageReference("test", index) for index in range(count)]
        with self._store.read_session() as session:
            stored_images = images.get_many(session, dataset, [str(ref) for ref in references])
        unread = [
            reference
            for reference in references
            if str(reference) not in stored_images
            and self._images.peek((dataset, str(reference))) is None
        ]
        if len(unread) > MAX_INLINE_READS:
            require_permission()
        return [
            stored_images.get(str(reference)) or self._read_from_dataset(dataset, reference)
            for reference in references
        ]

    def _read_from_dataset(self, dataset: str, reference: ImageReference) -> StoredImage:
        return self._images.get_or_make(
            (dataset, str(reference)), partial(self._load_image, dataset, reference)
        )

    def _load_image(self, dataset: str, reference: ImageReference) -> StoredImage:
        image = select_image(self._dataset(dataset), reference)
        png = to_png(image.pixels)
        return DatasetImage(dataset, str(reference), image.label, png, image.pixels)

    def _dataset(self, name: str) -> Dataset:
        if name in self._datasets:
            return self._datasets[name]
        require_permission()
        with self._loading:
            if name not in self._datasets:
                # A request for an image never starts a download.
                self._datasets[name] = DATASETS[name].load(self._data_dir, False)
            return self._datasets[name]


def check_reference(dataset: str, reference: str) -> str:
    """The reference in its canonical form. Raises InvalidValue, ImageNotFound, UnknownName."""
    _check_dataset(dataset)
    if is_upload(reference):
        return reference
    return str(ImageReference.parse(reference).require_in(DATASETS[dataset]))


def _check_dataset(name: str) -> None:
    if name not in DATASETS:
        raise UnknownName("dataset", name, DATASETS)
