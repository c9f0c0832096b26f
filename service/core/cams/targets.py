"""Targets: the score of a class that a map explains, as a function of the pre-activations x.

Every target states its value, which perturbation methods evaluate, and its Jacobian
M_cj = d score_c / d x_j, by which gradient methods combine the gradients of the pre-activations.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from service.core.models.network import OutputActivation
from service.errors import InvalidValue, UnknownName


@dataclass(frozen=True)
class Outputs:
    """A network's outputs for N images: the pre-activations x (N, C), and the output activation."""

    pre_activations: Tensor
    activation: OutputActivation

    @property
    def logits(self) -> Tensor:
        """The input of softmax (N, C): x behind the output activation."""
        return (
            torch.sigmoid(self.pre_activations)
            if self.activation == "sigmoid"
            else self.pre_activations
        )

    @cached_property
    def probabilities(self) -> Tensor:
        """softmax of the logits (N, C)."""
        return self.logits.softmax(1)

    @property
    def output_derivative(self) -> Tensor | None:
        """d logit_j / d x_j (N, C); None: 1."""
        if self.activation == "identity":
            return None
        return torch.sigmoid(self.pre_activations) * torch.sigmoid(-self.pre_activations)

    @property
    def identity(self) -> Tensor:
        """d x / d x (N, C, C), as a read-only view."""
        images, classes = self.pre_activations.shape
        eye = torch.eye(
            classes, dtype=self.pre_activations.dtype, device=self.pre_activations.device
        )
        return eye.expand(images, -1, -1)

    def backpropagate_to_pre_activations(self, by_logits: Tensor) -> Tensor:
        """The chain rule: a gradient (N, C, C) by the logits as one by the units."""
        return (
            by_logits
            if self.output_derivative is None
            else by_logits * self.output_derivative.unsqueeze(1)
        )


@dataclass(frozen=True)
class Target:
    """One entry of the table."""

    name: str
    formula: str  # of score_c; o are the logits, x behind the output activation
    description: str
    scores: Callable[[Outputs], Tensor]  # (N, C)
    score_jacobian: Callable[[Outputs], Tensor | None]  # M (N, C, C); None: the identity
    is_shift_invariant: bool
    """Whether the maps of a network without an output activation stay the same if one function of
    the image is added to all its pre-activations, which changes no probability: each row of M sums
    to 0. Lerma and Lucas, arXiv 2307.03305."""
    contrast_class: int | None = None  # the class d of a contrast

    def __str__(self) -> str:
        return self.name if self.contrast_class is None else f"{self.name}:{self.contrast_class}"


def _softmax(outputs: Outputs) -> Tensor:
    return outputs.probabilities


def softmax_jacobian(outputs: Outputs) -> Tensor:
    """M (N, C, C) of the class score after softmax. Selvaraju et al. 2017, eq. 1; the paper's (1).

    diag(p) - p p^T, with the diagonal p_c (1 - p_c) computed as p_c times the sum of the other
    probabilities: where p_c rounds to 1 in float32, 1 - p_c is 0 and the class's own term is lost,
    although the small terms of the others remain. So the conventional map fades by saturation, and
    not earlier because of rounding.
    """
    p = outputs.probabilities
    jacobian = -p.unsqueeze(2) * p.unsqueeze(1)
    jacobian.diagonal(dim1=1, dim2=2).copy_(p * _other_sum(p))
    return outputs.backpropagate_to_pre_activations(jacobian)


def _other_sum(p: Tensor) -> Tensor:
    """The sum of the other classes' probabilities (N, C): 1 - p without cancellation."""
    return p @ _off_diagonal(p.shape[1], p.dtype, p.device)


@lru_cache(maxsize=8)
def _off_diagonal(classes: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """1 - I (C, C), shared and so never written to."""
    return 1 - torch.eye(classes, dtype=dtype, device=device)


def _log_softmax_jacobian(outputs: Outputs) -> Tensor:
    p = outputs.probabilities
    jacobian = -p.unsqueeze(1).repeat(1, p.shape[1], 1)
    jacobian.diagonal(dim1=1, dim2=2).copy_(_other_sum(p))
    return outputs.backpropagate_to_pre_activations(jacobian)


def _output_jacobian(outputs: Outputs) -> Tensor | None:
    return (
        None if outputs.output_derivative is None else torch.diag_embed(outputs.output_derivative)
    )


def _centered_jacobian(outputs: Outputs) -> Tensor:
    return outputs.identity - 1 / outputs.pre_activations.shape[1]


def _strongest_other(x: Tensor) -> Tensor:
    """For each class the index of the largest x_j of the other classes (N, C)."""
    largest, second_largest = x.topk(2, dim=1).indices.unbind(1)
    classes = torch.arange(x.shape[1], device=x.device)
    return torch.where(
        classes == largest.unsqueeze(1), second_largest.unsqueeze(1), largest.unsqueeze(1)
    )


def _margin_scores(outputs: Outputs) -> Tensor:
    return outputs.pre_activations - outputs.pre_activations.gather(
        1, _strongest_other(outputs.pre_activations)
    )


def _margin_jacobian(outputs: Outputs) -> Tensor:
    jacobian = outputs.identity.clone()
    rival = _strongest_other(outputs.pre_activations).unsqueeze(2)
    return jacobian.scatter_add_(2, rival, torch.full_like(rival, -1, dtype=jacobian.dtype))


def _contrast(against: int) -> tuple[Callable[[Outputs], Tensor], Callable[[Outputs], Tensor]]:
    def scores(outputs: Outputs) -> Tensor:
        return outputs.pre_activations - outputs.pre_activations[:, against : against + 1]

    def jacobian(outputs: Outputs) -> Tensor:
        jacobian = outputs.identity.clone()
        jacobian[:, :, against] -= 1
        return jacobian

    return scores, jacobian


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            "softmax",
            "softmax(o)_c",
            "The class score after softmax; fades as softmax and sigmoid saturate.",
            _softmax,
            softmax_jacobian,
            is_shift_invariant=True,
        ),
        Target(
            "unit",
            "x_c",
            "The unit before its output activation (Sakai and Takenaka 2019, equation 4).",
            lambda outputs: outputs.pre_activations,
            lambda _: None,
            is_shift_invariant=False,
        ),
        Target(
            "output",
            "o_c",
            "The unit behind its output activation, before softmax.",
            lambda outputs: outputs.logits,
            _output_jacobian,
            is_shift_invariant=False,
        ),
        Target(
            "log-softmax",
            "log softmax(o)_c",
            "The log-probability; its gradient fades only where the class's probability is near 1.",
            lambda outputs: outputs.logits.log_softmax(1),
            _log_softmax_jacobian,
            is_shift_invariant=True,
        ),
        Target(
            "centered",
            "x_c - mean_j x_j",
            "The unit minus the mean over classes: what raises all classes equally cancels.",
            lambda outputs: outputs.pre_activations - outputs.pre_activations.mean(1, keepdim=True),
            _centered_jacobian,
            is_shift_invariant=True,
        ),
        Target(
            "margin",
            "x_c - max_(j != c) x_j",
            "The unit minus the strongest other one.",
            _margin_scores,
            _margin_jacobian,
            is_shift_invariant=True,
        ),
        Target(
            "contrast",
            "x_c - x_d",
            "The unit minus that of a named class d: why c rather than d?",
            lambda outputs: outputs.pre_activations,
            lambda _: None,
            is_shift_invariant=True,
        ),
    )
}


def parse_target(text: str) -> Target:
    """The target of a text: a name of the table, or `contrast:d` with a class index.

    Raises UnknownName, and InvalidValue for a contrast without a class.
    """
    name, colon, argument = text.partition(":")
    if name not in TARGETS or (colon and name != "contrast"):
        raise UnknownName("target", text, TARGETS)
    if name != "contrast":
        return TARGETS[name]
    if not (argument.isascii() and argument.isdigit() and len(argument) < 6):
        raise InvalidValue("contrast_class", "the target contrast needs a class to compare with")
    scores, jacobian = _contrast(int(argument))
    return replace(
        TARGETS[name], scores=scores, score_jacobian=jacobian, contrast_class=int(argument)
    )
