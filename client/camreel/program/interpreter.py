"""Networks that evaluate a program. Nothing in them changes: threads may share them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from camreel.program.batching import BatchLayout, batch_layouts
from camreel.program.cut import Cut, cut_program, leading_values
from camreel.program.errors import InvalidProgram
from camreel.program.evaluation import Plan, PreparedStep, prepare
from camreel.program.format import IMAGES, Program


class ProgramNetwork:
    """A program with its tensors.

    Results are differentiable by the images and, where they require gradients, by the tensors.
    """

    def __init__(self, program: Program, tensors: Mapping[str, Tensor]) -> None:
        """`tensors` by name, all on one device. Raises InvalidProgram if one is missing.

        `checks.check_tensors` verifies types, shapes and numbers.
        """
        for spec in program.tensors:
            if spec.name not in tensors:
                raise InvalidProgram(f"tensors.{spec.name}", "is missing")
        self.program = program
        self.tensors = {spec.name: tensors[spec.name] for spec in program.tensors}
        self._steps = prepare(program.steps, self.tensors)
        forward = sorted(leading_values(program) - {IMAGES} | {program.logits})
        self._forward = Plan.of([self._steps[i - 1] for i in forward], (program.logits,))
        self._splits: dict[int, Split] = {}
        self.layouts = batch_layouts(program)
        """Where the images lie in each value."""

    def __call__(self, images: Tensor) -> Tensor:
        """Pre-activations x (N, C) of images float32 (N, D, H, W)."""
        return torch.cat([part[self.program.logits] for part in self._run(self._forward, images)])

    def values(self, images: Tensor, indices: tuple[int, ...]) -> dict[int, Tensor]:
        """The values of those indices, with all images in one batch. For programs of any batch."""
        return Plan.of(self._steps, indices).run({IMAGES: images}, len(images))

    def plan(self, values: Iterable[int], results: Collection[int]) -> Plan:
        """The evaluation of some steps, by the indices of their values in ascending order."""
        return Plan.of(self.prepared_steps(values), results)

    def prepared_steps(self, values: Iterable[int]) -> list[PreparedStep]:
        """The steps of those values."""
        return [self._steps[value - 1] for value in values]

    def split(self, value: int) -> "Split":
        """The network split at a value. Raises ValueError if the output does not depend on it."""
        # Threads that split at once make equal splits, of which one stays.
        if value not in self._splits:
            self._splits[value] = Split(self, cut_program(self.program, value))
        return self._splits[value]

    def _run(self, plan: Plan, images: Tensor) -> list[dict[int, Tensor]]:
        if images.ndim != 4 or tuple(images.shape[1:]) != self.program.input_shape:
            raise ValueError(
                f"images of shape (N, {', '.join(map(str, self.program.input_shape))}) "
                f"are required, not {tuple(images.shape)}"
            )
        if self.program.batch == "dynamic":
            return [plan.run({IMAGES: images}, len(images))]
        return [plan.run({IMAGES: image}, 1) for image in torch.split(images, 1)]


@dataclass(frozen=True)
class Live:
    """The values that cross a cut beside the activations."""

    parts: tuple[Mapping[int, Tensor], ...]
    """All images in one part, or one image a part if the program takes one at a time."""
    layouts: Mapping[int, BatchLayout | None]
    """Where the images lie in each value; None for values that depend on the weights alone."""
    is_batched: bool
    """Whether all images are in one part."""

    def carries_batch(self, value: int) -> bool:
        """Whether a value differs by image, rather than depending on the weights alone."""
        return not self.is_batched or self.layouts[value] is not None

    def select(self, images: Tensor) -> "Live":
        """The live values of those images: indices int64 (M,), repeated as often as they occur."""
        if not self.is_batched:
            parts = tuple(self.parts[image] for image in images.tolist())
        else:
            parts = tuple(
                {value: self._rows(value, tensor, images) for value, tensor in part.items()}
                for part in self.parts
            )
        return Live(parts, self.layouts, self.is_batched)

    def repeat(self, count: int) -> "Live":
        """Each image's values `count` times in a row: image 0, 0, ..., 1, 1, ..."""
        return self.select(torch.arange(self._images).repeat_interleave(count))

    @property
    def _images(self) -> int:
        """Number of images; 1 if no value carries the batch."""
        if not self.is_batched:
            return len(self.parts)
        for value, tensor in self.parts[0].items():
            if (layout := self.layouts[value]) is not None:
                return layout.images(tensor)
        return 1

    def _rows(self, value: int, tensor: Tensor, images: Tensor) -> Tensor:
        layout = self.layouts[value]
        return tensor if layout is None else layout.select(tensor, images)


class Split:
    """A network in two parts: below a value, and the head above it."""

    def __init__(self, network: ProgramNetwork, cut: Cut) -> None:
        self.network = network
        self.cut = cut
        self._below = network.plan(cut.below, {cut.value, *cut.live})
        self._head = network.plan(cut.head, (network.program.logits,))
        self.layout = network.layouts[cut.value]
        """Where the images lie in the activations; None if the program takes one at a time."""
        self._live_layouts = {index: network.layouts[index] for index in cut.live}

    def below(self, images: Tensor) -> tuple[Tensor, Live]:
        """The activations of images float32 (N, D, H, W), and what else crosses the cut."""
        parts = self.network._run(self._below, images)  # noqa: SLF001  of this module
        activations = torch.cat([part[self.cut.value] for part in parts])
        lives = tuple({index: part[index] for index in self.cut.live} for part in parts)
        is_batched = self.network.program.batch == "dynamic"
        return activations, Live(lives, self._live_layouts, is_batched)

    def head(self, activations: Tensor, live: Live) -> Tensor:
        """Pre-activations x (M, C) of the activations of M images, and their live values."""
        logits = self.network.program.logits
        if live.is_batched:
            images = 1 if self.layout is None else self.layout.images(activations)
            (values,) = live.parts
            return self._head.run({**values, self.cut.value: activations}, images)[logits]
        rows = torch.split(activations, activations.shape[0] // len(live.parts))
        return torch.cat(
            [
                self._head.run({**values, self.cut.value: row}, 1)[logits]
                for row, values in zip(rows, live.parts, strict=True)
            ]
        )
