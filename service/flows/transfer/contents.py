"""What the parts of an exported run must be: of a trained run by its settings, of a recorded run by
its network.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

from pydantic import ValidationError

from service.core import checkpoints, network_descriptions, tensor_files
from service.core.checkpoints import CheckpointHeader
from service.core.datasets.dataset import ImageReference
from service.core.epoch_manifests import EpochManifest
from service.core.images import is_canonical_png
from service.core.network_descriptions import NetworkDescription, TensorForm
from service.core.parameters import Parameters
from service.core.program_checkpoints import assemble_state
from service.core.recorded_spec import AnySpec, RecordedSpec, is_recorded
from service.core.spec import RunSpec
from service.core.training import validate_training_state
from service.core.training_state import TrainingState
from service.errors import CamreelError, CheckpointCorrupt, ImportRefused, InvalidValue
from service.field_errors import field_errors
from service.flows.transfer.archive import Archive
from service.flows.transfer.manifest import (
    ExportedEpoch,
    ExportedImage,
    ExportedState,
    Manifest,
    Member,
)
from service.store import images
from service.store.images import StoredImage

Spec = TypeVar("Spec", bound=Parameters)


class RunContents(Protocol):
    """Checks of an archive's parts. They execute no code of it, and raise ImportRefused."""

    @property
    def spec(self) -> AnySpec:
        """The run's spec."""

    @property
    def program(self) -> "ProgramParts | None":
        """The network and tensors of a network that is described by a program."""

    @property
    def class_count(self) -> int:
        """Number of classes."""

    def dataset(self, run_id: int) -> str:
        """The name under which the images of the imported run are stored."""

    def has_measures(self, epoch: ExportedEpoch) -> bool:
        """Whether an epoch has the measures that every epoch of such a run has."""

    def check_archive(self) -> None:
        """Refuse parts that other checks do not read."""

    def check_image(self, image: ExportedImage, png: bytes) -> None:
        """Refuse an image that cannot be one of the run."""

    def check_checkpoint(self, epoch: ExportedEpoch, data: bytes) -> None:
        """Refuse a checkpoint of another epoch or network."""

    def check_training_state(self, exported: ExportedState) -> None:
        """Refuse a state that does not fit the optimizer and the network of its epoch."""


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
class ProgramParts:
    """The network and the tensors of an archive, verified like those that are sent to the API."""

    archive: Archive

    @cached_property
    def network(self) -> NetworkDescription:
        """The verified network."""
        member = self.archive.manifest.network
        if member is None:
            raise ImportRefused("it has no network, and its run needs one")
        try:
            return network_descriptions.verify_network(self.archive.read_member(member))
        except InvalidValue as error:
            raise ImportRefused(f"{member.name}: {error}") from error

    def check(self, input_shape: tuple[int, int, int] | None, class_count: int) -> None:
        """Refuse a network of other images or classes, and tensors that do not fit it.

        An epoch may have more tensors than the program: those that only training uses.
        """
        program = self.network.program
        if program.classes != class_count:
            raise ImportRefused("the run does not have one name per class of its network")
        if input_shape is not None and program.input_shape != input_shape:
            raise ImportRefused("the network does not take the run's images")
        required = self.network.tensor_forms
        used_hashes: set[str] = set()
        for epoch in self.archive.manifest.epochs:
            hashes = self.read_manifest(epoch).tensors
            forms = {name: self._forms.get(sha256) for name, sha256 in hashes.items()}
            if None in forms.values() or forms | required != forms:
                raise ImportRefused(f"{epoch.checkpoint.name}: its tensors do not fit the network")
            used_hashes.update(hashes.values())
        if used_hashes != set(self._forms):
            raise ImportRefused("it contains tensors that no epoch uses")

    def read_manifest(self, epoch: ExportedEpoch) -> EpochManifest:
        """The verified manifest of an epoch."""
        name = epoch.checkpoint.name
        try:
            manifest = EpochManifest.decode(self.archive.read_member(epoch.checkpoint))
        except CheckpointCorrupt as error:
            raise ImportRefused(f"{name} is not a manifest: {error}") from error
        if (manifest.network, manifest.epoch) != (self.network.id, epoch.epoch):
            raise ImportRefused(f"{name} is a manifest of another epoch or network")
        return manifest

    def read_weights(self, epoch: ExportedEpoch) -> bytes:
        """The tensors of an epoch as safetensors bytes."""
        members = {member.sha256: member for member in self.archive.manifest.tensors}
        files = {
            name: self.archive.read_member(members[sha256])
            for name, sha256 in self.read_manifest(epoch).tensors.items()
        }
        return assemble_state(files)

    @cached_property
    def _forms(self) -> Mapping[str, TensorForm]:
        """Type and shape of each tensor, by SHA-256."""
        members = self.archive.manifest.tensors
        forms = {member.sha256: self._read_form(member) for member in members}
        if len(forms) != len(members):
            raise ImportRefused("it contains a tensor more than once")
        return forms

    def _read_form(self, member: Member) -> TensorForm:
        try:
            summary = tensor_files.summarize([self.archive.read_member(member)], member.bytes)
        except InvalidValue as error:
            raise ImportRefused(f"{member.name}: {error}") from error
        return TensorForm(summary.header.dtype, summary.header.shape)


@dataclass(frozen=True)
class TrainedContents:
    """The checks of a run that a service has trained."""

    spec: RunSpec
    archive: Archive

    @cached_property
    def program(self) -> ProgramParts | None:
        """Of an architecture that is not made of stages."""
        return ProgramParts(self.archive) if self.spec.has_program else None

    @property
    def class_count(self) -> int:
        """Of the run's dataset."""
        return len(self.spec.source.class_names)

    def dataset(self, run_id: int) -> str:  # noqa: ARG002  of the protocol
        """The set of images that the network sees."""
        return self.spec.image_set

    def has_measures(self, epoch: ExportedEpoch) -> bool:
        """Loss, accuracies, rate and time."""
        measures = (epoch.test_loss, epoch.test_accuracy, epoch.learning_rate, epoch.seconds)
        return None not in measures and len(epoch.per_class_accuracy) == self.class_count

    def check_archive(self) -> None:
        """Refuse parts that the architecture does not have, or that do not fit it."""
        manifest = self.archive.manifest
        if self.program is None or not manifest.epochs:
            if manifest.network is not None or manifest.tensors:
                raise ImportRefused("its network is not described by a program")
            return
        self.program.check(self.spec.source.image_shape, self.class_count)

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
        if self.program is not None:
            return  # `check_archive` reads the manifests
        name = epoch.checkpoint.name
        try:
            if checkpoints.read_header(data) != CheckpointHeader.for_epoch(self.spec, epoch.epoch):
                raise ImportRefused(f"{name} is a checkpoint of another epoch or network")
            checkpoints.decode(data)
        except CheckpointCorrupt as error:
            raise ImportRefused(f"{name} is not a checkpoint: {error}") from error

    def check_training_state(self, exported: ExportedState) -> None:
        """Refuse a state that does not fit the optimizer and the network of its epoch."""
        epoch = self.archive.manifest.epochs[exported.epoch]
        weights = (
            self.archive.read_member(epoch.checkpoint)
            if self.program is None
            else self.program.read_weights(epoch)
        )
        state = TrainingState(exported.epoch, weights, self.archive.read_member(exported.state))
        try:
            validate_training_state(self.spec, state)
        except (CheckpointCorrupt, ValueError) as error:
            raise ImportRefused(f"{exported.state.name}: {error}") from error


@dataclass(frozen=True)
class RecordedContents:
    """The checks of a recorded run."""

    spec: RecordedSpec
    archive: Archive

    @cached_property
    def program(self) -> ProgramParts:
        """The run's network and tensors."""
        return ProgramParts(self.archive)

    @property
    def class_count(self) -> int:
        """Of the run's network."""
        return len(self.spec.class_names)

    def dataset(self, run_id: int) -> str:
        """The run's own."""
        return images.dataset_of_run(run_id)

    def has_measures(self, epoch: ExportedEpoch) -> bool:
        """What the recorder sent; it sends no accuracies by class."""
        return not epoch.per_class_accuracy

    def check_archive(self) -> None:
        """Refuse a network or tensors that are none, and a training state."""
        if self.program.network.id != self.spec.network:
            raise ImportRefused("networks/00000.json is not the run's network")
        self.program.check(None, self.class_count)
        manifest = self.archive.manifest
        states = manifest.training_state is not None or manifest.earlier_states
        if states or manifest.divergence is not None:
            raise ImportRefused("a recorded run has no training state")

    def check_image(self, image: ExportedImage, png: bytes) -> None:
        """Refuse an image that is not of the network's input size."""
        shape = self.program.network.program.input_shape
        if shape[0] not in (1, 3) or not is_canonical_png(png, shape):
            raise ImportRefused(f"{image.png.name} is not a PNG of the network's input size")
        if image.upload is not None or not image.reference.startswith("probe:"):
            raise ImportRefused(f"{image.png.name} is not a probe of a recorded run")

    def check_checkpoint(self, epoch: ExportedEpoch, data: bytes) -> None:
        """`check_archive` reads it."""

    def check_training_state(self, exported: ExportedState) -> None:
        """`check_archive` refuses it."""


def read_image(contents: RunContents, archive: Archive, image: ExportedImage) -> StoredImage:
    """A verified probe image, for a run whose id is not known yet. Raises ImportRefused."""
    png = archive.read_member(image.png)
    contents.check_image(image, png)
    if image.label is not None and image.label >= contents.class_count:
        raise ImportRefused(f"{image.png.name} is of class {image.label}, which does not exist")
    return StoredImage("", image.reference, image.label, png)
