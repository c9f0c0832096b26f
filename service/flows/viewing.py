"""Looking at a run: from (run, epoch, image, class, method, layer) to its maps.

Keeps nothing but caches: what is computed depends on stored checkpoints alone.
"""

import threading
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from service.core import checkpoints
from service.core.cams.layers import map_placement, resolve_layers
from service.core.cams.maps import MEMORY_BYTES, ClassMaps, explain_images
from service.core.cams.methods import PAPER_METHODS
from service.core.datasets import DATASETS
from service.core.datasets.dataset import Dataset, ImageReference, is_upload
from service.core.images import from_png, select_image, to_png
from service.core.models import Layers, Placement, StagedNetwork, describe_layers
from service.core.parallel import parallel_map
from service.core.progress import track
from service.core.spec import RunSpec
from service.errors import (
    CheckpointCorrupt,
    EpochQuarantined,
    ImageNotFound,
    StoreFull,
    StoreUnavailable,
    UnknownName,
)
from service.flows import computing
from service.flows.cache import Cache
from service.flows.predicted_classes import PredictedClasses
from service.flows.quarantine import Damage, quarantined, sound_checkpoint
from service.flows.subjects import (
    Query,
    Subject,
    check_contrast,
    class_index_of,
    explanation_of,
)
from service.store import epochs, heatmaps, images, predictions, runs, uploaded_images
from service.store.epochs import Epoch
from service.store.heatmaps import Extremes, Heatmap
from service.store.images import StoredImage
from service.store.predictions import Prediction
from service.store.runs import Run
from service.store.store import Store

__all__ = ["Query", "Subject", "Viewer"]

NETWORKS_BYTES = 256 * 2**20
MAPS_BYTES = 128 * 2**20
PNGS_BYTES = 16 * 2**20
FEW_IMAGES = 50
"""As many are read from a dataset where requests are resolved."""
ROWS_AT_ONCE = 100
"""Computed rows that a transaction keeps: each waits for the disk."""

log = structlog.get_logger()


class Viewer:
    """Resolves queries and computes maps; requests of several threads share one."""

    def __init__(self, store: Store, data_dir: Path, memory_bytes: int = MEMORY_BYTES) -> None:
        self.store = store
        self.memory_bytes = memory_bytes
        self._data_dir = data_dir
        self._datasets: dict[str, Dataset] = {}
        self._loading = threading.Lock()
        self._networks: Cache[StagedNetwork] = Cache(
            NETWORKS_BYTES, lambda network: sum(p.nbytes for p in network.parameters())
        )
        self._pngs: Cache[StoredImage] = Cache(PNGS_BYTES, lambda image: len(image.png))
        self._classes = PredictedClasses(store, self._scores)
        self._maps: Cache[ClassMaps] = Cache(
            MAPS_BYTES, lambda maps: sum(signed.nbytes for signed in maps.signed.values())
        )

    @property
    def caches(self) -> dict[str, Cache[Any]]:
        """By name, to be counted."""
        return {"networks": self._networks, "maps": self._maps}

    def subject(self, query: Query) -> Subject:
        """Resolve a query. Raises RunNotFound, ImageNotFound, UnknownName, InvalidValue."""
        return self._subject(*self._looked_at(query), query)

    def class_subjects(self, query: Query) -> list[Subject]:
        """One subject for each class of the query's image; the same errors."""
        run, spec, image = self._looked_at(query)
        return [
            self._subject(run, spec, image, replace(query, class_name=name))
            for name in spec.source.class_names
        ]

    def _looked_at(self, query: Query) -> tuple[Run, RunSpec, StoredImage]:
        with self.store.read_session() as session:
            run = runs.get(session, query.run_id)
            watched = images.list_probes(session, query.run_id)
        spec = RunSpec.model_validate(run.spec)
        if query.image is not None:
            image = self.image(spec.dataset, query.image)
        elif watched:
            image = watched[0]
        else:
            raise ImageNotFound("by default", "the run has no probes yet")
        return run, spec, image

    def probe_subjects(self, query: Query) -> list[Subject]:
        """One subject for each probe of the run, for its own label."""
        return self.probe_subjects_of([query])[0]

    def probe_subjects_of(self, queries: Sequence[Query]) -> list[list[Subject]]:
        """The same of several queries of one run, which is read once."""
        with self.store.read_session() as session:
            run = runs.get(session, queries[0].run_id)
            watched = images.list_probes(session, run.id)
        spec = RunSpec.model_validate(run.spec)
        return [[self._subject(run, spec, image, query) for image in watched] for query in queries]

    def probes_like(self, subject: Subject) -> list[Subject]:
        """The run's probes, explained as the subject is: each for its own label.

        One without a label is explained for the class that is predicted at each epoch.
        """
        with self.store.read_session() as session:
            watched = images.list_probes(session, subject.run.id)
        return [
            replace(
                subject,
                image=image,
                class_index=image.label or 0,
                predicted=image.label is None,
            )
            for image in watched
        ]

    def epoch(self, run_id: int, epoch: int) -> Epoch:
        """The epoch, to be looked at. Raises RunNotFound, EpochNotFound, EpochQuarantined."""
        with self.store.read_session() as session:
            found = epochs.get(session, run_id, epoch)
        if found.quarantine_reason is not None:
            raise EpochQuarantined(run_id, epoch, found.quarantine_reason)
        return found

    def epochs(self, run_id: int, chosen: Sequence[int] | None = None) -> list[Epoch]:
        """Those epochs, or all, quarantined ones among them. Raises RunNotFound."""
        with self.store.read_session() as session:
            return epochs.list_epochs(
                session, run_id, numbers=None if chosen is None else list(chosen)
            )

    def image(self, dataset: str, reference: str) -> StoredImage:
        """An image that a run watches, or of a dataset that is on this machine.

        Raises InvalidValue, ImageNotFound, UnknownName, DatasetUnavailable.
        """
        if dataset not in DATASETS:
            raise UnknownName("dataset", dataset, DATASETS)
        if is_upload(reference):
            return self._upload(dataset, reference)
        parsed = ImageReference.parse(reference).require_in(DATASETS[dataset])
        return self._images(dataset, [parsed])[0]

    def test_images(self, dataset: str, count: int) -> list[StoredImage]:
        """The first test images of a dataset. Raises UnknownName, DatasetUnavailable."""
        if dataset not in DATASETS:
            raise UnknownName("dataset", dataset, DATASETS)
        return self._images(dataset, [ImageReference("test", index) for index in range(count)])

    def _images(self, dataset: str, references: Sequence[ImageReference]) -> list[StoredImage]:
        texts = [str(reference) for reference in references]
        with self.store.read_session() as session:
            found = images.get_many(session, dataset, texts)
        missing = [one for one in references if str(one) not in found]
        unread = [one for one in missing if self._pngs.peek((dataset, str(one))) is None]
        if len(unread) > FEW_IMAGES:
            computing.require_permission()
        for one in missing:
            found[str(one)] = self._pngs.get_or_make(
                (dataset, str(one)), partial(self._read_image, dataset, one)
            )
        return [found[text] for text in texts]

    def _read_image(self, dataset: str, reference: ImageReference) -> StoredImage:
        found = select_image(self._dataset(dataset), reference)
        return StoredImage(dataset, str(reference), found.label, to_png(found.pixels))

    def _upload(self, dataset: str, reference: str) -> StoredImage:
        with self.store.read_session() as session:
            kept = images.get(session, dataset, reference)
            told = uploaded_images.was_used_recently(session, reference)
        if kept is None:
            raise ImageNotFound(reference, f"nothing was uploaded for {dataset} under that name")
        if not told:
            # A busy or full database is told by the next look.
            with suppress(StoreUnavailable, StoreFull), self.store.write_session() as session:
                uploaded_images.mark_used(session, dataset, [reference])
        return kept

    def at(self, subject: Subject, epoch: Epoch) -> Subject:
        """The subject with the class that is its own at an epoch: for an upload, that predicted."""
        return self.at_each(subject, [epoch])[0]

    def at_each(self, subject: Subject, chosen: Sequence[Epoch]) -> list[Subject]:
        """The same at several epochs. Raises InvalidValue where a contrast is to that class."""
        resolved = self._at_each(subject, chosen)
        for one in resolved if subject.predicted else ():
            check_contrast(one.explanation, one.class_index)
        return resolved

    def _at_each(self, subject: Subject, chosen: Sequence[Epoch]) -> list[Subject]:
        if not subject.predicted:
            return [subject] * len(chosen)
        return [
            replace(subject, class_index=class_index, predicted=False)
            for class_index in self._classes.of(subject, chosen)
        ]

    def _scores(self, subject: Subject, chosen: Sequence[Epoch]) -> list[Prediction]:
        """The scores of the subject's image at those epochs, computed and kept."""
        # Any method and class would do: one pass gives all scores.
        query = Query(subject.run.id, PAPER_METHODS[0], class_name="0")
        any_class = self._subject(subject.run, subject.spec, subject.image, query)
        cells = [(epoch, [any_class]) for epoch in chosen]
        computed = [
            Prediction(subject.run.id, epoch.epoch, subject.image.reference, maps.probabilities[0])
            for (epoch, _), (maps,) in zip(cells, self.maps_over(cells), strict=True)
        ]
        self.keep([], computed)
        return computed

    def maps(self, epoch: Epoch, subjects: Sequence[Subject]) -> list[ClassMaps]:
        """The maps of subjects that differ by image and class alone, at an epoch.

        Of what one forward pass gives for all classes, all is kept; of what costs more, the
        subject's own class. Raises CheckpointCorrupt and InvalidValue.
        """
        # By key: of all classes of an image, one pass is enough.
        by_key: dict[Hashable, Subject] = {one.cache_key(epoch): one for one in subjects}
        found = self._maps.get_or_make_each(
            list(by_key), lambda keys: self._looked(epoch, [by_key[key] for key in keys])
        )
        return [found[subject.cache_key(epoch)] for subject in subjects]

    def maps_over(
        self, cells: Sequence[tuple[Epoch, Sequence[Subject]]]
    ) -> Iterator[list[ClassMaps]]:
        """`maps` of each epoch and its subjects in turn, computed for several epochs at once."""
        if all(one.cache_key(epoch) in self._maps for epoch, some in cells for one in some):
            found: Iterator[list[ClassMaps]] = (self.maps(*cell) for cell in cells)
        else:
            computing.require_permission()
            found = parallel_map(lambda cell: self.maps(*cell), cells)
        for _, maps in zip(track(cells), found, strict=True):
            yield maps

    def _looked(self, epoch: Epoch, subjects: Sequence[Subject]) -> list[ClassMaps]:
        """Maps by the engine: one call for all classes, and one for each class that is alone."""
        computing.require_permission()
        together: dict[int | None, list[int]] = {}
        for place, subject in enumerate(subjects):
            together.setdefault(subject.alone, []).append(place)
        made: dict[int, ClassMaps] = {}
        for class_index, places in together.items():
            some = [subjects[place] for place in places]
            seen = explain_images(
                self.network(epoch, some[0].spec),
                [from_png(subject.image.png) for subject in some],
                some[0].layer,
                some[0].computed_with,
                None if class_index is None else [class_index],
                self.memory_bytes,
            )
            made |= {place: seen.select_image(i) for i, place in enumerate(places)}
        return [made[place] for place in range(len(subjects))]

    def rows(self, subject: Subject, chosen: Sequence[Epoch]) -> list[Heatmap]:
        """The metadata of a subject's maps at those epochs; computed and kept where it is not."""
        with self.store.read_session() as session:
            recorded = heatmaps.list_for_image(
                session,
                subject.run.id,
                subject.image.reference,
                None if subject.predicted else subject.class_index,
                subject.method,
                subject.layer,
            )
        return self._completed([subject], chosen, recorded)

    def probe_rows(self, subjects: Sequence[Subject], chosen: Sequence[Epoch]) -> list[Heatmap]:
        """The same for a run's probes, which differ by image and class alone, epoch by epoch."""
        if not subjects:
            return []
        one = subjects[0]
        with self.store.read_session() as session:
            kept = heatmaps.list_for_probes(session, one.run.id, one.layer, one.method)
        return self._completed(subjects, chosen, kept)

    def probe_extremes(self, subjects: Sequence[Subject], chosen: Sequence[Epoch]) -> Extremes:
        """The extremes of labelled probes' maps at those epochs, without a row object for each.

        What is not recorded is computed and kept.
        """
        if not subjects:
            return Extremes.from_heatmaps([])
        one = subjects[0]
        with self.store.read_session() as session:
            recorded = heatmaps.get_probe_extremes(session, one.run.id, one.layer, one.method)
        numbers = [epoch.epoch for epoch in chosen]
        known = np.bincount(recorded.epochs, minlength=numbers[-1] + 1)
        missing = [epoch for epoch in chosen if known[epoch.epoch] < len(subjects)]
        complete = np.setdiff1d(numbers, [epoch.epoch for epoch in missing])
        computed = Extremes.from_heatmaps(self.probe_rows(subjects, missing) if missing else [])
        return Extremes.concatenate(recorded.at_epochs(complete), computed)

    def _completed(
        self, subjects: Sequence[Subject], chosen: Sequence[Epoch], kept: Sequence[Heatmap]
    ) -> list[Heatmap]:
        rows = {(row.epoch, row.image, row.class_index): row for row in kept}
        resolved = zip(*(self._at_each(one, chosen) for one in subjects), strict=True)
        cells = list(zip(chosen, resolved, strict=True))
        missing = [
            (epoch, [one for one in there if one.place_at(epoch) not in rows])
            for epoch, there in cells
        ]
        for computed in self.computed([cell for cell in missing if cell[1]]):
            rows |= {(row.epoch, row.image, row.class_index): row for row in computed}
        return [rows[one.place_at(epoch)] for epoch, there in cells for one in there]

    def computed(self, cells: Sequence[tuple[Epoch, Sequence[Subject]]]) -> Iterator[list[Heatmap]]:
        """The rows of each epoch and its subjects, computed and kept, ROWS_AT_ONCE or more at once.

        The subjects of an epoch differ by image and class alone.
        """
        pending: list[Heatmap] = []
        try:
            for (epoch, subjects), found in zip(cells, self.maps_over(cells), strict=True):
                rows = [
                    subject.heatmap(epoch, maps.class_map(subject.method, 0, subject.class_index))
                    for subject, maps in zip(subjects, found, strict=True)
                ]
                pending += rows
                if len(pending) >= ROWS_AT_ONCE:
                    self.keep(pending)
                    pending = []
                yield rows
        finally:
            self.keep(pending)

    def keep(self, rows: Sequence[Heatmap], sure: Sequence[Prediction] = ()) -> None:
        """Keep the rows of maps and predictions just computed, if the database takes them now."""
        if not rows and not sure:
            return
        try:
            with self.store.write_session() as session:
                # Computed for a run that was deleted meanwhile: there is nothing to keep it with.
                run_ids = {row.run_id for row in rows} | {row.run_id for row in sure}
                if not all(runs.lock_shared(session, run_id) for run_id in run_ids):
                    return
                self.store.quota.check(session)
                heatmaps.add_or_complete(session, rows)
                predictions.add_missing(session, sure)
        except (StoreUnavailable, StoreFull) as error:
            # Whoever asked for a picture gets it: the rows can be computed again.
            log.warning("what was computed is not kept", error=type(error).__name__)

    def layers(self, spec: RunSpec) -> Layers:
        """The layers that maps can be made of."""
        return describe_layers(
            spec.architecture, spec.source.image_shape, len(spec.source.class_names)
        )

    def placement(self, subject: Subject) -> Placement:
        """Where the positions of the subject's map lie on its image."""
        return map_placement(subject.layer, self.layers(subject.spec))

    def _subject(self, run: Run, spec: RunSpec, image: StoredImage, query: Query) -> Subject:
        names = spec.source.class_names
        explanation = explanation_of(query, names)
        layer = resolve_layers(explanation.method, query.layer, self.layers(spec))
        class_index = image.label
        if query.class_name is not None:
            class_index = class_index_of("class", query.class_name, names)
        predicted = class_index is None
        if not predicted:
            check_contrast(explanation, class_index)
        return Subject(run, spec, image, class_index or 0, explanation, layer, predicted)

    def _dataset(self, name: str) -> Dataset:
        if name in self._datasets:
            return self._datasets[name]
        computing.require_permission()
        with self._loading:
            if name not in self._datasets:
                # A request for a picture never starts a download.
                self._datasets[name] = DATASETS[name].load(self._data_dir, False)
            return self._datasets[name]

    def network(self, epoch: Epoch, spec: RunSpec | None = None) -> StagedNetwork:
        """The epoch's network, in evaluation mode, shared; `spec` is its run's, if it is at hand.

        Raises EpochQuarantined.
        """
        return self._networks.get_or_make(
            epoch.checkpoint.sha256, lambda: self.decoded(self.checkpoint(epoch, spec), epoch)
        )

    def decoded(self, data: bytes, epoch: Epoch) -> StagedNetwork:
        """The network of verified bytes. Raises EpochQuarantined where they are none."""
        try:
            return checkpoints.decode(data)[0]
        except CheckpointCorrupt as error:
            raise quarantined(self.store, epoch, Damage.UNREADABLE) from error

    def checkpoint(self, epoch: Epoch, spec: RunSpec | None = None) -> bytes:
        """The stored bytes, verified on every load.

        Where they are gone or not those that were written, the epoch is quarantined: later requests
        read nothing. Raises EpochQuarantined.
        """
        return sound_checkpoint(self.store, epoch, spec)
