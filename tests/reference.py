"""The paper's equations written out slowly in float64, as the independent truth of the tests."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def two_pass_statistics(features: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Count (C,), mean (C, A), covariance (C, A, A) of all rows of (P, A) features at once."""
    features = features.double()
    size = features.shape[1]
    count = torch.zeros(num_classes, dtype=torch.int64)
    mean = torch.zeros(num_classes, size, dtype=torch.float64)
    covariance = torch.zeros(num_classes, size, size, dtype=torch.float64)
    for label in range(num_classes):
        rows = features[labels == label]
        count[label] = len(rows)
        if len(rows):
            mean[label] = rows.mean(0)
            centred = rows - mean[label]
            covariance[label] = centred.t() @ centred / len(rows)
    return count, mean, covariance


def expected_covariance(features: Tensor, labels: Tensor, num_classes: int, kind: str) -> Tensor:
    """The buffer ``covariance`` of each kind."""
    if kind == 'identity':
        return torch.ones(1, features.shape[1], dtype=torch.float64)
    if kind == 'shared':
        rows = features.double()[(labels >= 0) & (labels < num_classes)]
        centred = rows - rows.mean(0)
        return (centred.t() @ centred / len(rows))[None]
    covariance = two_pass_statistics(features, labels, num_classes)[2]
    return covariance.diagonal(dim1=1, dim2=2) if kind == 'diagonal' else covariance


def as_matrices(covariance: Tensor, num_classes: int) -> Tensor:
    """(C, A, A) from the buffer of any kind."""
    if covariance.dim() == 2:
        covariance = torch.diag_embed(covariance)
    return covariance.double().expand(num_classes, -1, -1)


def table(weight: Tensor, matrices: Tensor, strength: float) -> Tensor:
    """lambda/2 (w_j - w_y)' Sigma_y (w_j - w_y), entry by entry."""
    rows = []
    for y, matrix in enumerate(matrices):
        differences = [w - weight[y] for w in weight]
        rows.append(torch.stack([strength / 2 * (d @ matrix @ d) for d in differences]))
    return torch.stack(rows)


def eq7_logits(
    low_logits: Tensor,
    labels: Tensor,
    shift: Tensor | None,
    *,
    augment_at: str,
    align_corners: bool,
    ignore_index: int = 255,
) -> Tensor:
    """(N, C, H, W) logits from (N, C, h, w): one-hot labels times the (C, C) table, before or after the up-sampling."""

    def shifted(logits: Tensor, at: Tensor) -> Tensor:
        one_hot = at.unsqueeze(1) == torch.arange(len(shift), device=at.device).view(1, -1, 1, 1)
        one_hot = one_hot & (at != ignore_index).unsqueeze(1)
        return logits + torch.einsum('nyhw,yc->nchw', one_hot.double(), shift.double())

    logits = low_logits.double()
    if shift is not None and augment_at == 'feature':
        logits = shifted(logits, F.interpolate(labels[:, None].double(), size=logits.shape[2:], mode='nearest')[:, 0])
    logits = F.interpolate(logits, size=labels.shape[1:], mode='bilinear', align_corners=align_corners)
    return shifted(logits, labels) if shift is not None and augment_at == 'label' else logits


def eq7_map(
    low_logits: Tensor, labels: Tensor, weight: Tensor, matrices: Tensor, strength: float, **placement
) -> Tensor:
    """(N, H, W) losses of Eq. 7 from (N, C, h, w) logits before up-sampling; 0 where ignored."""
    logits = eq7_logits(low_logits, labels, table(weight, matrices, strength), **placement)
    return F.cross_entropy(logits, labels, reduction='none', ignore_index=placement.get('ignore_index', 255))


def reduced(
    losses: Tensor,
    labels: Tensor,
    *,
    weight: Tensor | None = None,
    class_weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: float | Tensor | None = None,
    avg_non_ignore: bool = False,
    ignore_index: int = 255,
) -> Tensor:
    """MMSegmentation's rules of weighting and averaging, its epsilon included."""
    valid = labels != ignore_index
    per_class = valid.to(losses.dtype)
    if class_weight is not None:
        per_class[valid] = class_weight.to(losses.dtype)[labels[valid]]
    weighted = losses * per_class * (1.0 if weight is None else weight.to(losses.dtype))
    if reduction != 'mean':
        return weighted if reduction == 'none' else weighted.sum()
    if avg_factor is None:
        avg_factor = valid.sum() if avg_non_ignore else labels.numel()
        if class_weight is not None:
            avg_factor = per_class.sum()
    return weighted.sum() / (float(avg_factor) + torch.finfo(torch.float32).eps)
