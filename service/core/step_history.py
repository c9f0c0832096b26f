"""Loss and gradient norm of the last optimizer steps of an epoch, to explain a divergence."""

import itertools
import math
import statistics
from collections import deque
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from service.errors import RunDiverged

MAX_STEPS = 2_000
BLOCK_STEPS = 100
"""Steps between two transfers from the device, each of which makes a GPU synchronize."""

SWING_BLOCKS = 5
"""Parts of the last half of an epoch whose mean losses are compared."""

IMAGES_PER_NORM = 32
"""A gradient norm is measured at most once per this number of images: it takes as long for a small
batch as for a large one, and would slow down steps of a few images."""


class StepHistory:
    """Records the steps of one epoch, and raises RunDiverged for a loss that is not finite.

    Recording changes no result of the training.
    """

    def __init__(self, epoch: int, parameters: Iterable[Tensor], batch_size: int) -> None:
        self._epoch = epoch
        self._parameters = list(parameters)
        self._norm_interval = math.ceil(IMAGES_PER_NORM / batch_size)
        self._steps: deque[tuple[float, float]] = deque(maxlen=MAX_STEPS)
        self._count = 0  # steps that have been transferred
        self._losses: list[Tensor] = []  # on the device, as are the norms
        self._norms: list[Sequence[Tensor]] = []  # of every `_norm_interval`-th of these steps

    def record(self, loss: Tensor) -> None:
        """Record a step between its backward pass and its update. Raises RunDiverged, up to
        BLOCK_STEPS steps late.
        """
        if len(self._losses) % self._norm_interval == 0:
            gradients = [p.grad for p in self._parameters if p.grad is not None]
            # One kernel for all parameters on a GPU; public functions start one for each.
            self._norms.append(torch._foreach_norm(gradients))  # noqa: SLF001
        self._losses.append(loss)
        if len(self._losses) == BLOCK_STEPS:
            self.transfer()

    def transfer(self) -> None:
        """Transfer the steps from the device. Raises RunDiverged."""
        if not self._losses:
            return
        losses = torch.stack(self._losses).tolist()
        by_parameter = torch.stack([torch.stack(list(norms)) for norms in self._norms]).double()
        norms = torch.linalg.vector_norm(by_parameter, dim=1).tolist()
        self._losses, self._norms = [], []
        for index, loss in enumerate(losses):
            is_measured = index % self._norm_interval == 0
            self._steps.append(
                (loss, norms[index // self._norm_interval] if is_measured else math.nan)
            )
            self._count += 1
            self.require_finite(loss)

    def gradient_norm_range(self) -> tuple[float | None, float | None]:
        """Median and largest of the measured gradient norms; None where none was measured."""
        norms = [norm for _, norm in self._steps if not math.isnan(norm)]
        return (statistics.median(norms), max(norms)) if norms else (None, None)

    def loss_swing(self) -> float | None:
        """Mean change of the loss from block to block, as a share of the mean loss.

        Blocks are SWING_BLOCKS equal parts of the second half of the steps, so that the fall at
        the start of an epoch does not count; None for fewer steps than blocks.
        """
        losses = [loss for loss, _ in self._steps][len(self._steps) // 2 :]
        size = len(losses) // SWING_BLOCKS
        if size == 0:
            return None
        means = [statistics.fmean(losses[i * size : (i + 1) * size]) for i in range(SWING_BLOCKS)]
        changes = [abs(b - a) for a, b in itertools.pairwise(means)]
        mean_loss = statistics.fmean(means)
        return statistics.fmean(changes) / mean_loss if mean_loss > 0 else None

    def require_finite(self, loss: float) -> None:
        """Raises RunDiverged for a loss after the last recorded step that is not finite."""
        if math.isfinite(loss):
            return
        losses, norms = zip(*self._steps, strict=True) if self._steps else ((), ())
        raise RunDiverged(
            loss,
            epoch=self._epoch,
            first_step=self._count - len(losses) + 1,
            losses=losses,
            gradient_norms=norms,
        )
