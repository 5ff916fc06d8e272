"""Explicit augmentation by samples, Eqs. 4 and 5 of the paper, and covariances that are learned (Fig. 10)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .precision import full_precision
from .statistics import ClassCovariance

JITTER = 1e-6  # of the mean variance: covariances of few samples are singular


def sample_directions(
    statistics: ClassCovariance, labels: Tensor, num_samples: int = 1, *, generator: torch.Generator | None = None
) -> Tensor:
    r"""Draw directions :math:`\delta \sim N(0, \Sigma_y)` for the features of given labels.

    A feature augmented as in Eq. 4 is :math:`a + \sqrt\lambda \delta`.

    Args:
        statistics: of any kind.
        labels: (N,) int64.
        num_samples: M.
        generator: of the samples.

    Returns:
        (N, M, A), without gradients.
    """
    with torch.no_grad(), full_precision(labels.device):
        covariance = statistics.covariance
        rows = labels if len(covariance) > 1 else torch.zeros_like(labels)
        noise = covariance.new_empty(len(labels), num_samples, covariance.shape[-1]).normal_(generator=generator)
        if covariance.dim() == 3:
            classes, index = rows.unique(return_inverse=True)
            return _by_class(noise, matrix_roots(covariance[classes]), index)
        variance, factor = covariance[rows], getattr(statistics, 'factor', None)
        if factor is None:
            return noise * variance.sqrt().unsqueeze(1)
        factor = factor[rows]
        rest = (variance - factor.square().sum(1)).clamp_min(0)
        strong = noise.new_empty(len(labels), num_samples, factor.shape[1]).normal_(generator=generator)
        return torch.baddbmm(noise * rest.sqrt().unsqueeze(1), strong, factor)


def _by_class(noise: Tensor, roots: Tensor, index: Tensor) -> Tensor:
    """(N, M, A) noise times the root of its class, without a copy of a matrix for each sample."""
    order = index.argsort()
    parts = noise[order].split(torch.bincount(index, minlength=len(roots)).tolist())
    moved = torch.cat([part @ root.mT for part, root in zip(parts, roots, strict=True)])
    return moved[order.argsort()]


def matrix_roots(matrices: Tensor) -> Tensor:
    """Return (K, A, A) roots L with L L' = Sigma of covariances (K, A, A), singular ones too.

    By Cholesky in float64; what rounding has made indefinite goes through its eigenvalues.
    """
    exact = matrices.double()
    mean_variance = exact.diagonal(dim1=1, dim2=2).mean(1).clamp_min(torch.finfo(matrices.dtype).tiny)
    identity = torch.eye(exact.shape[1], dtype=exact.dtype, device=exact.device)
    roots, failed = torch.linalg.cholesky_ex(exact + JITTER * mean_variance.view(-1, 1, 1) * identity)
    for index in failed.nonzero().flatten().tolist():
        values, vectors = torch.linalg.eigh(exact[index])
        roots[index] = vectors * values.clamp_min(0).sqrt()
    return roots.to(matrices.dtype)


def explicit_cross_entropy(
    logits: Tensor, labels: Tensor, weight: Tensor, directions: Tensor, strength: float | Tensor
) -> Tensor:
    r"""Return the cross entropy of features that are augmented M times, the terms of Eq. 5.

    .. math::
        \ell_i = \frac{1}{M} \sum_m -\log \mathrm{softmax}_{y_i}(z_i + \sqrt\lambda W \delta_i^m)

    Gradients reach the features through ``logits``, and ``weight`` through both. As M grows the mean approaches the
    expectation of Eq. 6, which :func:`~mmseg_isda.core.isda_cross_entropy` bounds from above.

    Args:
        logits: (N, C) plain logits.
        labels: (N,) int64.
        weight: (C, A) of the classifier.
        directions: (N, M, A) from :func:`sample_directions`.
        strength: lambda, 0 or more.

    Returns:
        (N,) losses.
    """
    num_samples = directions.shape[1]
    moved = logits.unsqueeze(1) + strength**0.5 * (directions @ weight.t())
    losses = F.cross_entropy(moved.flatten(0, 1), labels.repeat_interleave(num_samples), reduction='none')
    return losses.view(-1, num_samples).mean(1)


class LearnedCovariance(nn.Module):
    r"""Covariances that the optimizer learns as :math:`\Sigma_y = D_y D_y^T`, in place of estimated ones.

    Args:
        num_classes: C.
        num_features: A.
        scale: standard deviation of every feature at the beginning.

    Parameters:
        root: (C, A, A), the D of each class.
    """

    def __init__(self, num_classes: int, num_features: int, *, scale: float = 0.1) -> None:
        super().__init__()
        self.root = nn.Parameter(scale * torch.eye(num_features).repeat(num_classes, 1, 1))

    def sample(self, labels: Tensor, num_samples: int = 1) -> Tensor:
        """Draw (N, M, A) directions for (N,) labels, with gradients to D: the reparameterization trick."""
        classes, index = labels.unique(return_inverse=True)
        noise = self.root.new_empty(len(labels), num_samples, self.root.shape[2]).normal_()
        return _by_class(noise, self.root[classes], index)

    def shift(self, weight: Tensor, labels: Tensor, strength: float | Tensor) -> Tensor:
        r"""Return (N, C), what Eq. 7 adds to the logits: :math:`\tfrac{\lambda}{2} \|D_y^T (w_j - w_y)\|^2`.

        Gradients reach the (C, A) ``weight`` and D.
        """
        classes, index = labels.unique(return_inverse=True)
        difference = weight - weight[classes].unsqueeze(1)
        return F.embedding(index, strength / 2 * (difference @ self.root[classes]).square().sum(2))

    def entropy(self, labels: Tensor) -> Tensor:
        r"""Return the entropy of :math:`N(0, \Sigma_y)` for each of (N,) labels, per feature, in nats."""
        classes, index = labels.unique(return_inverse=True)
        size = self.root.shape[2]
        log_determinant = torch.linalg.slogdet(self.root[classes])[1]
        return (0.5 * math.log(2 * math.pi * math.e) + log_determinant / size)[index]


def uncertainty_loss(entropy: Tensor, margin: float) -> Tensor:
    """Return how far the mean entropy of Gaussians stays below a margin: 0 once it is reached.

    T. Yu et al., "Robust person re-identification by modelling feature uncertainty", 2019, section 3.3; without it a
    learned covariance would shrink to nothing. ``entropy`` is (N,), per feature, and ``margin`` in the same unit.
    """
    return F.relu(margin - entropy.mean())
