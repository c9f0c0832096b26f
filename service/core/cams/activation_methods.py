"""Methods that weigh activations without gradients, in one pass."""

from collections.abc import Callable, Sequence

from torch import Tensor

from service.core.cams import activation, eigen
from service.core.cams.cut import Cut
from service.core.cams.method import CLASS_AGNOSTIC, Compute, Cost, Method, Seeded
from service.core.cams.targets import Target
from service.core.cams.weighted import weighted_sum
from service.core.parameters import Parameters


def _of_activations(project: Callable[[Tensor], Tensor]) -> Compute:
    """A method that looks at no class: the same map for each."""

    def compute(cut: Cut, _: Target, __: Parameters, classes: Sequence[int]) -> Tensor:
        return project(cut.activations).unsqueeze(1).expand(-1, len(classes), -1, -1)

    return compute


def _classic(cut: Cut, _: Target, __: Parameters, classes: Sequence[int]) -> Tensor:
    weights = activation.classic_cam(cut)[list(classes)]
    return weighted_sum(weights.expand(len(cut.activations), -1, -1), cut.activations)


def _random(cut: Cut, _: Target, parameters: Seeded, classes: Sequence[int]) -> Tensor:
    channels, everyone = cut.activations.shape[1], max(classes) + 1
    weights = activation.random_weights(channels, everyone, parameters.seed)
    weights = weights.to(cut.activations)[list(classes)]
    return weighted_sum(weights.expand(len(cut.activations), -1, -1), cut.activations)


ACTIVATION_METHODS = (
    Method(
        name="cam",
        title="Class activation mapping",
        description="The weights of the last layer; needs global average pooling below it.",
        formula="sum_k W_ck A^k",
        source="Zhou et al., Learning Deep Features for Discriminative Localization, eq. 2",
        year=2016,
        cost=Cost.FORWARD,
        compute=_classic,
        targets=("unit",),
    ),
    Method(
        name="eigen-cam",
        title="Eigen-CAM",
        description="The first principal component of the activations; looks at no class.",
        formula="A v_1",
        source="Muhammad and Yeasin, Eigen-CAM",
        year=2020,
        cost=Cost.FORWARD,
        compute=_of_activations(eigen.eigen_cam),
        targets=CLASS_AGNOSTIC,
    ),
    Method(
        name="kpca-cam",
        title="KPCA-CAM",
        description="The first component of the activations' kernel PCA; looks at no class.",
        formula="kernel PCA of A, tanh(x y / K + 1)",
        source="Karmani et al., KPCA-CAM",
        year=2024,
        cost=Cost.FORWARD,
        compute=_of_activations(eigen.kpca_cam),
        targets=CLASS_AGNOSTIC,
    ),
    Method(
        name="fem",
        title="Feature Explanation Method",
        description="Weighs channels by how often they are strong; looks at no class.",
        formula="sum_k w_k A^k, w_k = share of A^k > mean + 2 deviations",
        source="Fuad et al., Features Understanding in 3D CNNs",
        year=2020,
        cost=Cost.FORWARD,
        compute=_of_activations(activation.fem),
        targets=CLASS_AGNOSTIC,
    ),
    Method(
        name="random",
        title="Random weights",
        description="The control: channels weighed at random. What does not beat it, explains "
        "nothing.",
        formula="sum_k w_k A^k, w_k uniform in -1..1",
        source="the control of pytorch-grad-cam, RandomCAM",
        year=2021,
        cost=Cost.FORWARD,
        compute=_random,
        targets=CLASS_AGNOSTIC,
        parameters=Seeded,
    ),
)
