"""Looking at a run: from (run, epoch, image, class, method, layer) to its maps.

Keeps nothing but caches: what is computed depends on stored checkpoints alone.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from service.core import checkpoints
from service.core.cams.maps import ClassMap, ClassMaps, look
from service.core.cams.methods import METHODS
from service.core.datasets import DATASETS
from service.core.datasets.dataset import Dataset, ImageReference
from service.core.images import from_png, pick, to_png
from service.core.models import Layers, StagedNetwork, layers
from service.core.spec import RunSpec
from service.errors import CheckpointCorrupt, ImageNotFound, StoreBusy, StoreFull, UnknownName
from service.flows.cache import Cache
from service.flows.recording import heatmap_of, map_identity
from service.store import epochs, heatmaps, images, runs
from service.store.epochs import Epoch
from service.store.heatmaps import Heatmap
from service.store.images import StoredImage
from service.store.runs import Run
from service.store.store import Store

NETWORKS_BYTES = 256 * 2**20
MAPS_BYTES = 128 * 2**20

log = structlog.get_logger()


@dataclass(frozen=True)
class Query:
    """What a client asks to look at; None takes the default of `api.md`."""

    run_id: int
    method: str
    image: str | None = None
    class_name: str | None = None
    layer: str | None = None


@dataclass(frozen=True)
class Subject:
    """A query resolved: all that a map depends on, but for the epoch."""

    run: Run
    spec: RunSpec
    image: StoredImage
    class_index: int
    method: str
    layer: str

    def identity(self, epoch: Epoch) -> str:
        """The map's identity at an epoch."""
        return map_identity(
            epoch.checkpoint.sha256,
            self.spec.dataset,
            self.image.reference,
            self.layer,
            self.method,
            self.class_index,
        )

    def heatmap(self, epoch: Epoch, seen: ClassMap) -> Heatmap:
        """The metadata row of its map at an epoch."""
        return heatmap_of(
            seen,
            run_id=self.run.id,
            epoch=epoch.epoch,
            checkpoint=epoch.checkpoint.sha256,
            dataset=self.spec.dataset,
            image=self.image.reference,
            layer=self.layer,
            method=self.method,
            class_index=self.class_index,
        )


class Viewer:
    """Resolves queries and computes maps; requests of several threads share one."""

    def __init__(self, store: Store, data_dir: Path) -> None:
        self.store = store
        self._data_dir = data_dir
        self._datasets: dict[str, Dataset] = {}
        self._loading = threading.Lock()
        self._networks: Cache[StagedNetwork] = Cache(
            NETWORKS_BYTES, lambda network: sum(p.nbytes for p in network.parameters())
        )
        self._maps: Cache[ClassMaps] = Cache(
            MAPS_BYTES, lambda maps: sum(signed.nbytes for signed in maps.signed.values())
        )

    def subject(self, query: Query) -> Subject:
        """Resolve a query. Raises RunNotFound, ImageNotFound, UnknownName, InvalidValue."""
        _known("method", query.method, METHODS)
        with self.store.reading() as session:
            run = runs.get(session, query.run_id)
            watched = images.probes(session, query.run_id)
        spec = RunSpec.model_validate(run.spec)
        if query.image is not None:
            image = self.image(spec.dataset, query.image)
        elif watched:
            image = watched[0]
        else:
            raise ImageNotFound("by default", "the run has no probes yet")
        return self._subject(run, spec, image, query)

    def probe_subjects(self, query: Query) -> list[Subject]:
        """One subject for each probe of the run, for its own label."""
        _known("method", query.method, METHODS)
        with self.store.reading() as session:
            run = runs.get(session, query.run_id)
            watched = images.probes(session, query.run_id)
        spec = RunSpec.model_validate(run.spec)
        return [self._subject(run, spec, image, query) for image in watched]

    def epoch(self, run_id: int, epoch: int) -> Epoch:
        """The epoch. Raises RunNotFound or EpochNotFound."""
        with self.store.reading() as session:
            return epochs.get(session, run_id, epoch)

    def epochs(self, run_id: int, chosen: Sequence[int] | None = None) -> list[Epoch]:
        """Those epochs, or all. Raises RunNotFound."""
        with self.store.reading() as session:
            return epochs.all_of(session, run_id, chosen=None if chosen is None else list(chosen))

    def image(self, dataset: str, reference: str) -> StoredImage:
        """An image that a run watches, or of a dataset that is on this machine.

        Raises InvalidValue, ImageNotFound, UnknownName, DatasetUnavailable.
        """
        _known("dataset", dataset, DATASETS)
        parsed = ImageReference.parse(reference).within(DATASETS[dataset])
        with self.store.reading() as session:
            kept = images.get(session, dataset, str(parsed))
        if kept is not None:
            return kept
        found = pick(self._dataset(dataset), parsed)
        return StoredImage(dataset, str(parsed), found.label, to_png(found.pixels))

    def maps(self, epoch: Epoch, watched: Sequence[StoredImage], layer: str) -> list[ClassMaps]:
        """The maps of each image at an epoch, for all classes by all methods; one forward pass.

        Raises CheckpointCorrupt.
        """
        keys = [(epoch.checkpoint.sha256, i.dataset, i.reference, layer) for i in watched]
        found = {key: self._maps.get(key) for key in keys}
        missing = [i for i, key in enumerate(keys) if found[key] is None]
        if missing:
            pixels = [from_png(watched[i].png) for i in missing]
            seen = look(self._network(epoch), pixels, layer, list(METHODS))
            for place, i in enumerate(missing):
                found[keys[i]] = alone = seen.only(place)
                self._maps.put(keys[i], alone)
        return [maps for key in keys if (maps := found[key]) is not None]

    def rows(self, subject: Subject, chosen: Sequence[Epoch]) -> list[Heatmap]:
        """The metadata of a subject's maps at those epochs; computed and kept where it is not."""
        with self.store.reading() as session:
            kept = heatmaps.of_image(
                session,
                subject.run.id,
                subject.image.reference,
                subject.class_index,
                subject.method,
                subject.layer,
            )
        by_epoch = {row.epoch: row for row in kept}
        new = [
            subject.heatmap(epoch, self.map(subject, epoch))
            for epoch in chosen
            if epoch.epoch not in by_epoch
        ]
        self.keep(new)
        by_epoch |= {row.epoch: row for row in new}
        return [by_epoch[epoch.epoch] for epoch in chosen]

    def map(self, subject: Subject, epoch: Epoch) -> ClassMap:
        """The subject's map at an epoch. Raises CheckpointCorrupt."""
        (maps,) = self.maps(epoch, [subject.image], subject.layer)
        return maps.one(subject.method, 0, subject.class_index)

    def keep(self, rows: Sequence[Heatmap]) -> None:
        """Keep the metadata of maps just computed, if the database takes it now."""
        if not rows:
            return
        try:
            with self.store.writing() as session:
                heatmaps.keep(session, rows)
        except (StoreBusy, StoreFull) as error:
            # Whoever asked for a picture gets it: the rows can be computed again.
            log.warning("heatmap metadata not kept", error=type(error).__name__)

    def layers(self, spec: RunSpec) -> Layers:
        """The layers that maps can be made of."""
        return layers(spec.architecture, spec.source.image_shape, len(spec.source.class_names))

    def _subject(self, run: Run, spec: RunSpec, image: StoredImage, query: Query) -> Subject:
        offered = self.layers(spec)
        layer = query.layer or offered.default
        _known("layer", layer, offered.shapes)
        names = spec.source.class_names
        class_index = image.label
        if query.class_name is not None:
            class_index = _class_index(query.class_name, names)
        elif class_index is None:
            raise UnknownName("class", "", names)
        return Subject(run, spec, image, class_index, query.method, layer)

    def _dataset(self, name: str) -> Dataset:
        with self._loading:
            if name not in self._datasets:
                # A request for a picture never starts a download.
                self._datasets[name] = DATASETS[name].load(self._data_dir, False)
            return self._datasets[name]

    def _network(self, epoch: Epoch) -> StagedNetwork:
        return self._networks.get_or_make(
            epoch.checkpoint.sha256, lambda: checkpoints.decode(self.checkpoint(epoch))[0]
        )

    def checkpoint(self, epoch: Epoch) -> bytes:
        """The stored bytes, verified. Raises CheckpointCorrupt."""
        try:
            with self.store.reading() as session:
                data = self.store.blobs.get(session, epoch.checkpoint.blob_key)
        except KeyError as error:
            raise CheckpointCorrupt(
                f"The checkpoint of epoch {epoch.epoch} of run {epoch.run_id} is gone."
            ) from error
        if checkpoints.digest(data) != epoch.checkpoint.sha256:
            raise CheckpointCorrupt(
                f"The checkpoint of epoch {epoch.epoch} of run {epoch.run_id} is corrupt: "
                "its bytes are not those that were written."
            )
        return data


def _class_index(text: str, names: Sequence[str]) -> int:
    """A class by its name, or by its index if no class is named so."""
    if text in names:
        return list(names).index(text)
    if text.isascii() and text.isdigit() and len(text) < 6 and int(text) < len(names):
        return int(text)
    raise UnknownName("class", text, names)


def _known(field: str, name: str, table: Iterable[str]) -> None:
    names = list(table)
    if name not in names:
        raise UnknownName(field, name, names)
