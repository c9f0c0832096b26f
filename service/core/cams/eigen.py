"""Methods that project activations on their first principal component."""

import torch
from torch import Tensor


def eigen_cam(activations: Tensor) -> Tensor:
    """The first principal component of A over positions, (N, H, W). Muhammad and Yeasin 2020.

    Looks at no class. A component's sign is arbitrary; here it is the one in which the projection
    agrees with the sum of the channels, so that it does not flip between machines.
    """
    return _projection(activations, activations.sum(1))


def eigen_grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """The first principal component of G A, (V, N, H, W): eigen_cam, told apart by class.

    As pytorch-grad-cam's EigenGradCAM, but for the sign: that of hires_cam's map.
    """
    weighted = gradients * activations
    maps = _projection(weighted.flatten(0, 1), weighted.sum(2).flatten(0, 1))
    return maps.view(*gradients.shape[:2], *maps.shape[1:])


def seg_eigen_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """The first principal component of |G| A, (V, N, H, W). Chung and Ying 2025, eq. 10 to 13.

    Its sign is the one in which the value that is largest by absolute value is positive.
    """
    weighted = (gradients.abs() * activations).flatten(0, 1)
    maps = _projection(weighted, weighted.sum(1))
    turned = maps.amin((1, 2)).abs() > maps.amax((1, 2)).abs()
    maps = torch.where(turned[:, None, None], -maps, maps)
    return maps.view(*gradients.shape[:2], *maps.shape[1:])


def kpca_cam(activations: Tensor) -> Tensor:
    """The first component of kernel PCA of A over positions, (N, H, W). Karmani et al. 2024.

    The kernel is tanh(x y / K + 1), x and y being positions' centred channels; looks at no class.
    Its sign is taken as in eigen_cam.
    """
    centred = _centred(activations)
    kernel = torch.tanh(centred @ centred.mT / activations.shape[1] + 1)  # (N, P, P)
    kernel = kernel - kernel.mean(1, keepdim=True)
    kernel = kernel - kernel.mean(2, keepdim=True)
    value, vector = _first_component(kernel)
    maps = vector * value.clamp(min=0).sqrt()
    return _signed(maps, activations.sum(1).flatten(1)).view(-1, *activations.shape[2:])


def _projection(features: Tensor, guide: Tensor) -> Tensor:
    """Centred features (B, K, H, W) on their first component, signed as the guide (B, H, W)."""
    centred = _centred(features)
    _, vector = _first_component(centred.mT @ centred)
    maps = (centred @ vector.unsqueeze(2)).squeeze(2)
    return _signed(maps, guide.flatten(1)).view(-1, *features.shape[2:])


def _first_component(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """The largest eigenvalue (B, 1) of symmetric matrices (B, K, K), and its vector (B, K).

    NaN where a matrix is not finite: LAPACK refuses a whole batch for one of them.
    """
    finite = matrices.isfinite().all((1, 2), keepdim=True)
    values, vectors = torch.linalg.eigh(torch.where(finite, matrices, 0))  # values ascending
    known = finite.squeeze(2)
    return (
        torch.where(known, values[:, -1:], torch.nan),
        torch.where(known, vectors[:, :, -1], torch.nan),
    )


def _centred(features: Tensor) -> Tensor:
    """(B, K, H, W) as (B, P, K), each channel's mean taken off; float64, for eigenvectors."""
    rows = features.flatten(2).mT.double()
    return rows - rows.mean(1, keepdim=True)


def _signed(maps: Tensor, guide: Tensor) -> Tensor:
    """Maps (B, P), those turned that disagree with the guide."""
    agreement = (maps * (guide - guide.mean(1, keepdim=True))).sum(1, keepdim=True)
    return torch.where(agreement < 0, -maps, maps).to(guide.dtype)
