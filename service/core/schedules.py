"""Schedules of the learning rate. A new one is a class and an entry of the table.

The rate of an epoch is the optimizer's times the factor of the schedule. The factor depends on the
schedule's own fields and the epoch alone, so that a run that is resumed, or extended, continues as
one that was never interrupted.
"""

import math
from typing import Annotated, Literal

from pydantic import Field, Tag

from service.core.parameters import Parameters, name_discriminator

MAX_EPOCHS = 10_000
"""The most epochs of a run."""

Factor = Annotated[float, Field(ge=0, le=1)]


class Schedule(Parameters):
    """Base of the schedules: a linear warm-up, then the schedule's own factor."""

    name: str
    warmup_epochs: Annotated[int, Field(ge=0, le=MAX_EPOCHS)] = 0
    """First epochs, in which the rate grows linearly up to the optimizer's (Goyal et al. 2017)."""

    def factor(self, epoch: int) -> float:
        """Factor of the optimizer's learning rate in an epoch >= 1, 0..1."""
        if epoch <= self.warmup_epochs:
            return epoch / (self.warmup_epochs + 1)
        return self.factor_after_warmup(epoch - self.warmup_epochs - 1)

    def factor_after_warmup(self, index: int) -> float:
        """Factor in the epoch of that index; 0 is the first epoch after the warm-up."""
        raise NotImplementedError


class Constant(Schedule):
    """The optimizer's learning rate in all epochs."""

    name: Literal["constant"] = "constant"

    def factor_after_warmup(self, index: int) -> float:  # noqa: ARG002  the base's
        """1."""
        return 1.0


class Cosine(Schedule):
    """Half a cosine from the optimizer's learning rate down (Loshchilov and Hutter 2017)."""

    name: Literal["cosine"] = "cosine"
    span_epochs: Annotated[int, Field(ge=1, le=MAX_EPOCHS)] | None = None
    """Epochs of the schedule, warm-up included. Later epochs keep the last one's rate.
    Default: the epochs of the run when it is created."""
    final_factor: Factor = 0.0
    """Fraction of the learning rate that the cosine ends at, one epoch after the span."""

    def factor_after_warmup(self, index: int) -> float:
        """(1 + cos(pi t / T)) / 2 between 1 and the final factor; T: the epochs of the cosine."""
        epochs = max(1, (self.span_epochs or 1) - self.warmup_epochs)
        progress = min(index, epochs - 1) / epochs
        share = (1 + math.cos(math.pi * progress)) / 2
        return self.final_factor + (1 - self.final_factor) * share


class Step(Schedule):
    """The learning rate times a factor after each interval, as of He et al. 2015."""

    name: Literal["step"] = "step"
    interval_epochs: Annotated[int, Field(ge=1, le=MAX_EPOCHS)] = 30
    """Epochs between two reductions."""
    reduction_factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Factor of the learning rate at each reduction."""

    def factor_after_warmup(self, index: int) -> float:
        """The reduction factor to the power of the reductions so far."""
        return float(self.reduction_factor ** (index // self.interval_epochs))


SCHEDULES: dict[str, type[Schedule]] = {"constant": Constant, "cosine": Cosine, "step": Step}

AnySchedule = Annotated[
    Annotated[Constant, Tag("constant")]
    | Annotated[Cosine, Tag("cosine")]
    | Annotated[Step, Tag("step")],
    name_discriminator("constant"),
]
