"""Methods that project activations on their first principal component."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from service.core.cams.layer_pass import LayerPass
from service.core.cams.method import CLASS_AGNOSTIC, Compute, Cost, Method, from_gradients
from service.core.cams.targets import Target
from service.core.parameters import Parameters


def class_agnostic(project: Callable[[Tensor], Tensor]) -> Compute:
    """The method whose maps are `project(A)` (N, H, W), the same for every class."""

    def compute(layer_pass: LayerPass, _: Target, __: Parameters, classes: Sequence[int]) -> Tensor:
        maps = project(layer_pass.activations)
        return maps.unsqueeze(1).expand(-1, len(classes), -1, -1)

    return compute


def eigen_cam(activations: Tensor) -> Tensor:
    """Maps (N, H, W).

    The sign of a component is arbitrary. Here the projection correlates positively with the sum of
    the channels, so that it does not depend on the machine.
    """
    return _projection(activations, activations.sum(1))


EIGEN_CAM = Method(
    name="eigen-cam",
    title="Eigen-CAM",
    description="The first principal component of the activations; class-agnostic.",
    formula="A v_1",
    source="Muhammad and Yeasin, Eigen-CAM",
    year=2020,
    cost=Cost.FORWARD,
    compute=class_agnostic(eigen_cam),
    targets=CLASS_AGNOSTIC,
)


def kpca_cam(activations: Tensor) -> Tensor:
    """Maps (N, H, W); the sign as Eigen-CAM's. x, y are the centered channels of two positions."""
    centered = _centered_rows(activations)
    kernel = torch.tanh(centered @ centered.mT / activations.shape[1] + 1)  # (N, P, P)
    kernel = kernel - kernel.mean(1, keepdim=True)
    kernel = kernel - kernel.mean(2, keepdim=True)
    value, vector = _first_component(kernel)
    maps = vector * value.clamp(min=0).sqrt()
    return _with_sign_of(activations.sum(1).flatten(1), maps).view(-1, *activations.shape[2:])


KPCA_CAM = Method(
    name="kpca-cam",
    title="KPCA-CAM",
    description="The first component of the activations' kernel PCA; class-agnostic.",
    formula="kernel PCA of A, tanh(x y / K + 1)",
    source="Karmani et al., KPCA-CAM",
    year=2024,
    cost=Cost.FORWARD,
    compute=class_agnostic(kpca_cam),
    targets=CLASS_AGNOSTIC,
)


def eigen_grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Maps (V, N, H, W), as pytorch-grad-cam's, but with the sign of HiResCAM's map."""
    weighted = gradients * activations
    maps = _projection(weighted.flatten(0, 1), weighted.sum(2).flatten(0, 1))
    return maps.view(*gradients.shape[:2], *maps.shape[1:])


EIGEN_GRAD_CAM = Method(
    name="eigen-grad-cam",
    title="Eigen-Grad-CAM",
    description="The first principal component of gradient times activation.",
    formula="(G A) v_1",
    source="pytorch-grad-cam, EigenGradCAM",
    year=2021,
    cost=Cost.GRADIENT,
    compute=from_gradients(eigen_grad_cam),
)


def seg_eigen_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Maps (V, N, H, W). The value that is largest by absolute value is positive."""
    weighted = (gradients.abs() * activations).flatten(0, 1)
    maps = _projection(weighted, weighted.sum(1))
    is_negative = maps.amin((1, 2)).abs() > maps.amax((1, 2)).abs()
    maps = torch.where(is_negative[:, None, None], -maps, maps)
    return maps.view(*gradients.shape[:2], *maps.shape[1:])


SEG_EIGEN_CAM = Method(
    name="seg-eigen-cam",
    title="Seg-Eigen-CAM",
    description="The first principal component of absolute gradient times activation.",
    formula="(|G| A) v_1, its largest value positive",
    source="Chung and Ying, Seg-Eigen-CAM, equations 10 to 13",
    year=2025,
    cost=Cost.GRADIENT,
    compute=from_gradients(seg_eigen_cam),
)


def _projection(features: Tensor, guide: Tensor) -> Tensor:
    """Centered features (B, K, H, W) on their first component; the sign from `guide` (B, H, W)."""
    centered = _centered_rows(features)
    _, vector = _first_component(centered.mT @ centered)
    maps = (centered @ vector.unsqueeze(2)).squeeze(2)
    return _with_sign_of(guide.flatten(1), maps).view(-1, *features.shape[2:])


def _first_component(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """The largest eigenvalue (B, 1) of symmetric matrices (B, K, K), and its vector (B, K).

    NaN where a matrix is not finite: LAPACK fails for a whole batch because of one of them.
    """
    is_finite = matrices.isfinite().all((1, 2), keepdim=True)
    values, vectors = torch.linalg.eigh(torch.where(is_finite, matrices, 0))  # values ascending
    is_finite = is_finite.squeeze(2)
    return (
        torch.where(is_finite, values[:, -1:], torch.nan),
        torch.where(is_finite, vectors[:, :, -1], torch.nan),
    )


def _centered_rows(features: Tensor) -> Tensor:
    """(B, K, H, W) as (B, P, K) minus each channel's mean; float64, for the eigenvectors."""
    rows = features.flatten(2).mT.double()
    return rows - rows.mean(1, keepdim=True)


def _with_sign_of(guide: Tensor, maps: Tensor) -> Tensor:
    """Maps (B, P), negated where their correlation with the guide (B, P) is negative."""
    agreement = (maps * (guide - guide.mean(1, keepdim=True))).sum(1, keepdim=True)
    return torch.where(agreement < 0, -maps, maps).to(guide.dtype)
