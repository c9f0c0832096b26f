"""The optimizers of runs. A new one is a class and an entry of the table."""

from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from pydantic import Field, Tag
from torch import Tensor
from torch.optim import Optimizer

from service.core.parameters import Parameters, name_discriminator

LearningRate = Annotated[float, Field(gt=0, le=100)]
Decay = Annotated[float, Field(ge=0, lt=1)]
WeightDecay = Annotated[float, Field(ge=0, le=10)]


class Adadelta(Parameters):
    """Adadelta (Zeiler 2012) at rate 1.0, as in the example that Table 1 comes from."""

    name: Literal["adadelta"] = "adadelta"
    learning_rate: LearningRate = 1.0
    """Factor applied to Adadelta's step."""
    rho: Decay = 0.9
    """Decay rate of the running averages."""

    def build(self, parameters: Iterable[Tensor]) -> Optimizer:
        """The optimizer of those parameters."""
        return torch.optim.Adadelta(parameters, lr=self.learning_rate, rho=self.rho)


class SGD(Parameters):
    """Stochastic gradient descent with optional momentum and weight decay."""

    name: Literal["sgd"] = "sgd"
    learning_rate: LearningRate = 0.1
    """Step size."""
    momentum: Decay = 0.0
    """Fraction of the previous step added to the next one."""
    weight_decay: WeightDecay = 0.0
    """Weight decay coefficient: this times the weights is added to the gradient."""

    def build(self, parameters: Iterable[Tensor]) -> Optimizer:
        """The optimizer of those parameters."""
        return torch.optim.SGD(
            parameters,
            lr=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )


class Adam(Parameters):
    """Adam (Kingma and Ba 2015)."""

    name: Literal["adam"] = "adam"
    learning_rate: LearningRate = 1e-3
    """Step size."""

    def build(self, parameters: Iterable[Tensor]) -> Optimizer:
        """The optimizer of those parameters."""
        return torch.optim.Adam(parameters, lr=self.learning_rate)


class AdamW(Parameters):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    name: Literal["adamw"] = "adamw"
    learning_rate: LearningRate = 1e-3
    """Step size."""
    weight_decay: WeightDecay = 0.01
    """Weight decay coefficient: each step shrinks the weights by this times the learning rate."""

    def build(self, parameters: Iterable[Tensor]) -> Optimizer:
        """The optimizer of those parameters."""
        return torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)


OPTIMIZERS: dict[str, type[Adadelta] | type[SGD] | type[Adam] | type[AdamW]] = {
    "adadelta": Adadelta,
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
}


AnyOptimizer = Annotated[
    Annotated[Adadelta, Tag("adadelta")]
    | Annotated[SGD, Tag("sgd")]
    | Annotated[Adam, Tag("adam")]
    | Annotated[AdamW, Tag("adamw")],
    name_discriminator("adadelta"),
]
