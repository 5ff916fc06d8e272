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


def eq7_map(
    low_logits: Tensor,
    labels: Tensor,
    weight: Tensor,
    matrices: Tensor,
    strength: float,
    *,
    augment_at: str,
    align_corners: bool,
    ignore_index: int = 255,
) -> Tensor:
    """(N, H, W) losses of Eq. 7 from (N, C, h, w) logits before up-sampling, pixel by pixel; 0 where ignored."""
    shift = table(weight, matrices, strength)
    size = tuple(labels.shape[1:])

    def shifted(logits: Tensor, at: Tensor) -> Tensor:
        out = logits.clone()
        for image, row, column in (at != ignore_index).nonzero().tolist():
            out[image, :, row, column] = logits[image, :, row, column] + shift[at[image, row, column]]
        return out

    def up(logits: Tensor) -> Tensor:
        return F.interpolate(logits, size=size, mode='bilinear', align_corners=align_corners)

    if augment_at == 'feature':
        nearest = F.interpolate(labels[:, None].double(), size=low_logits.shape[2:], mode='nearest')[:, 0].long()
        logits = up(shifted(low_logits, nearest))
    else:
        logits = shifted(up(low_logits), labels)
    losses = torch.zeros(labels.shape, dtype=logits.dtype)
    for image, row, column in (labels != ignore_index).nonzero().tolist():
        z = logits[image, :, row, column]
        losses[image, row, column] = z.logsumexp(0) - z[labels[image, row, column]]
    return losses


def reduced(
    losses: Tensor,
    labels: Tensor,
    *,
    weight: Tensor | None = None,
    class_weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_non_ignore: bool = False,
    ignore_index: int = 255,
) -> Tensor:
    """MMSegmentation's rules of weighting and averaging."""
    valid = labels != ignore_index
    per_class = torch.zeros(labels.shape, dtype=losses.dtype)
    per_class[valid] = 1.0 if class_weight is None else class_weight.to(losses.dtype)[labels[valid]]
    weighted = losses * per_class * (1.0 if weight is None else weight.to(losses.dtype))
    if reduction == 'none':
        return weighted
    if reduction == 'sum':
        return weighted.sum()
    if class_weight is not None:
        return weighted.sum() / per_class.sum()
    return weighted.sum() / (valid.sum() if avg_non_ignore else labels.numel())
