"""What the parts of an exported run must be: of a trained run by its settings, of a recorded run by
its network.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

from pydantic import ValidationError

from service.core import checkpoints, recorded_networks, tensor_files
from service.core.checkpoints import CheckpointHeader
from service.core.datasets.dataset import ImageReference
from service.core.epoch_manifests import EpochManifest
from service.core.images import is_canonical_png
from service.core.parameters import Parameters
from service.core.recorded_networks import NetworkDescription, TensorForm
from service.core.recorded_spec import RecordedSpec, is_recorded
from service.core.spec import RunSpec
from service.errors import CamreelError, CheckpointCorrupt, ImportRefused, InvalidValue
from service.field_errors import field_errors
from service.flows.transfer.archive import Archive
from service.flows.transfer.manifest import ExportedEpoch, ExportedImage, Manifest, Member
from service.store import images
from service.store.images import StoredImage

Spec = TypeVar("Spec", bound=Parameters)


class RunContents(Protocol):
    """Checks of an archive's parts. They execute no code of it, and raise ImportRefused."""

    @property
    def spec(self) -> RunSpec | RecordedSpec:
        """The run's spec."""

    @property
    def class_count(self) -> int:
        """Number of classes."""

    def dataset(self, run_id: int) -> str:
        """The name under which the images of the imported run are stored."""

    def check_archive(self) -> None:
        """Refuse parts that other checks do not read."""

    def check_image(self, image: ExportedImage, png: bytes) -> None:
        """Refuse an image that cannot be one of the run."""

    def check_checkpoint(self, epoch: ExportedEpoch, data: bytes) -> None:
        """Refuse a checkpoint of another epoch or network."""


def contents_of(archive: Archive) -> RunContents:
    """The checks for an archive's run. Raises ImportRefused for an invalid spec."""
    values = archive.manifest.run.spec
    if is_recorded(values):
        return RecordedContents(_parse(RecordedSpec, archive.manifest), archive)
    return TrainedContents(_parse(RunSpec, archive.manifest), archive)


def _parse(spec_class: type[Spec], manifest: Manifest) -> Spec:
    try:
        return spec_class.model_validate(manifest.run.spec)
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        first_error = field_errors(details, spec_class.model_json_schema())[0]
        raise ImportRefused(f"the run's spec: {first_error}"[:500]) from error


@dataclass(frozen=True)
class TrainedContents:
    """The checks of a run that a service has trained."""

    spec: RunSpec
    archive: Archive

    @property
    def class_count(self) -> int:
        """Of the run's dataset."""
        return len(self.spec.source.class_names)

    def dataset(self, run_id: int) -> str:  # noqa: ARG002  of the protocol
        """The run's dataset."""
        return self.spec.dataset

    def check_archive(self) -> None:
        """Refuse parts of a recorded run."""
        if self.archive.manifest.network is not None or self.archive.manifest.tensors:
            raise ImportRefused("only a recorded run has a network and tensors")

    def check_image(self, image: ExportedImage, png: bytes) -> None:
        """Refuse an image of another size, or one that the dataset cannot have."""
        source = self.spec.source
        if not is_canonical_png(png, source.image_shape):
            raise ImportRefused(
                f"{image.png.name} is not a PNG of the size of {source.name} images"
            )
        if image.upload is None:
            try:
                ImageReference.parse(image.reference).require_in(source)
            except CamreelError as error:
                raise ImportRefused(f"{image.png.name}: {error}") from error

    def check_checkpoint(self, epoch: ExportedEpoch, data: bytes) -> None:
        """Refuse a checkpoint that is not of the run's architecture and dataset."""
        name = epoch.checkpoint.name
        try:
            if checkpoints.read_header(data) != CheckpointHeader.for_epoch(self.spec, epoch.epoch):
                raise ImportRefused(f"{name} is a checkpoint of another epoch or network")
            checkpoints.decode(data)
        except CheckpointCorrupt as error:
            raise ImportRefused(f"{name} is not a checkpoint: {error}") from error


@dataclass(frozen=True)
class RecordedContents:
    """The checks of a recorded run: its network is verified like one that is sent to the API."""

    spec: RecordedSpec
    archive: Archive

    @property
    def class_count(self) -> int:
        """Of the run's network."""
        return len(self.spec.class_names)

    def dataset(self, run_id: int) -> str:
        """The run's own."""
        return images.dataset_of_run(run_id)

    @cached_property
    def network(self) -> NetworkDescription:
        """The verified network."""
        member = self.archive.manifest.network
        if member is None:
            raise ImportRefused("it has no network, and its run is a recorded one")
        try:
            network = recorded_networks.verify_network(self.archive.read_member(member))
        except InvalidValue as error:
            raise ImportRefused(f"{member.name}: {error}") from error
        if network.id != self.spec.network:
            raise ImportRefused(f"{member.name} is not the run's network")
        if network.program.classes != self.class_count:
            raise ImportRefused("the run does not have one name per class of its network")
        return network

    def check_archive(self) -> None:
        """Refuse a network or tensors that are none, and a training state."""
        forms = {member.sha256: self._read_form(member) for member in self._tensors}
        if len(forms) != len(self._tensors):
            raise ImportRefused("it contains a tensor more than once")
        used_hashes: set[str] = set()
        for epoch in self.archive.manifest.epochs:
            manifest = self._read_manifest(epoch)
            required = self.network.tensor_forms
            if {name: forms.get(sha) for name, sha in manifest.tensors.items()} != required:
                raise ImportRefused(f"{epoch.checkpoint.name}: its tensors do not fit the network")
            used_hashes.update(manifest.tensors.values())
        if used_hashes != set(forms):
            raise ImportRefused("it contains tensors that no epoch uses")
        manifest_parts = self.archive.manifest
        if manifest_parts.training_state is not None or manifest_parts.divergence is not None:
            raise ImportRefused("a recorded run has no training state")

    def check_image(self, image: ExportedImage, png: bytes) -> None:
        """Refuse an image that is not of the network's input size."""
        shape = self.network.program.input_shape
        if shape[0] not in (1, 3) or not is_canonical_png(png, shape):
            raise ImportRefused(f"{image.png.name} is not a PNG of the network's input size")
        if image.upload is not None or not image.reference.startswith("probe:"):
            raise ImportRefused(f"{image.png.name} is not a probe of a recorded run")

    def check_checkpoint(self, epoch: ExportedEpoch, data: bytes) -> None:
        """`check_archive` reads it."""

    @property
    def _tensors(self) -> list[Member]:
        return self.archive.manifest.tensors

    def _read_manifest(self, epoch: ExportedEpoch) -> EpochManifest:
        name = epoch.checkpoint.name
        try:
            manifest = EpochManifest.decode(self.archive.read_member(epoch.checkpoint))
        except CheckpointCorrupt as error:
            raise ImportRefused(f"{name} is not a manifest: {error}") from error
        if (manifest.network, manifest.epoch) != (self.spec.network, epoch.epoch):
            raise ImportRefused(f"{name} is a manifest of another epoch or network")
        return manifest

    def _read_form(self, member: Member) -> TensorForm:
        try:
            summary = tensor_files.summarize([self.archive.read_member(member)], member.bytes)
        except InvalidValue as error:
            raise ImportRefused(f"{member.name}: {error}") from error
        return TensorForm(summary.header.dtype, summary.header.shape)


def read_image(contents: RunContents, archive: Archive, image: ExportedImage) -> StoredImage:
    """A verified probe image, for a run whose id is not known yet. Raises ImportRefused."""
    png = archive.read_member(image.png)
    contents.check_image(image, png)
    if image.label is not None and image.label >= contents.class_count:
        raise ImportRefused(f"{image.png.name} is of class {image.label}, which does not exist")
    return StoredImage("", image.reference, image.label, png)
