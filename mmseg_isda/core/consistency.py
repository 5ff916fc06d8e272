"""The unlabeled term of semi-supervised ISDA: Eq. 15 of the paper."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .checks import REDUCTIONS, check_choice, check_strength
from .precision import full_precision
from .statistics import ClassCovariance

# Elements of the (K, C, C) tables that exist at a time; beyond it they are computed again in the backward pass.
TABLE_ELEMENTS = 1 << 24
# Largest entry of a table up to which sums of exponentials are a matrix product: exp(-limit) is far from underflow, and
# what underflows beside it is below the last bit.
PRODUCT_LIMITS = {torch.float32: 60.0, torch.float64: 600.0}
SMALLEST_BLOCK = 8


def isda_consistency(
    logits: Tensor,
    targets: Tensor,
    weight: Tensor,
    statistics: ClassCovariance,
    strength: float | Tensor,
    *,
    sample_weight: Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Compute the upper bound of the expected divergence between plain and augmented predictions (Eq. 15).

    .. math::
        L_i = \sum_k -p_{ik} \log \frac{e^{z_{ik}}}{\sum_j e^{z_{ij} + \frac{\lambda}{2}
            (w_j - w_k)^T \Sigma_{\tilde y_i} (w_j - w_k)}}, \qquad \tilde y_i = \arg\max_k p_{ik}

    One-hot targets recover Eq. 7; a strength of 0 gives the cross entropy with soft targets. As all samples of one
    pseudo-class :math:`\tilde y` share a table :math:`T_{kj}`, the sums over j are products of
    :math:`\exp(z)` and :math:`\exp(T)`: no tensor of samples x classes x classes is made.

    Args:
        logits: (N, C) or (N, C, *spatial) plain logits z that ``weight`` makes.
        targets: probabilities p of the same shape. They are constants: no gradient flows to them.
        weight: (C, A) rows :math:`w_j` of the classifier.
        statistics: running statistics of the *labeled* features, any kind of
            :class:`~mmseg_isda.core.ClassCovariance` or :class:`~mmseg_isda.core.LowRankCovariance`.
        strength: :math:`\lambda` of this iteration, 0 or more.
        sample_weight: (N,) or (N, *spatial), e.g. a confidence mask.
        reduction: ``'mean'`` over all samples, those of weight 0 included; ``'sum'`` or ``'none'``.

    Returns:
        A scalar, or (N, *spatial) for the reduction ``'none'``, in float32 or better.

    Raises:
        ValueError: if shapes do not fit, ``strength`` is a negative number or ``reduction`` is unknown.

    Example:
        >>> from mmseg_isda.core import ClassCovariance
        >>> statistics = ClassCovariance(2, 2, 'identity')
        >>> logits = torch.tensor([[2.0, 0.0]])
        >>> isda_consistency(logits, logits.softmax(1), torch.eye(2), statistics, 1.0)
        tensor(0.6393)
    """
    _check(logits, targets, weight, strength, sample_weight, reduction)
    with full_precision(logits.device):
        dtype = torch.promote_types(torch.promote_types(logits.dtype, weight.dtype), torch.float32)
        num_classes = logits.shape[1]
        z = logits.to(dtype).movedim(1, -1).reshape(-1, num_classes)
        p = targets.detach().to(dtype).movedim(1, -1).reshape(-1, num_classes)
        if len(z) == 0 or (not isinstance(strength, Tensor) and strength == 0):
            losses = -(p * z.log_softmax(1)).sum(1)
        else:
            losses = _augmented(z, p, weight.to(dtype), statistics, strength)
        losses = losses.view(logits.shape[0], *logits.shape[2:])
        if sample_weight is not None:
            losses = losses * sample_weight.to(dtype)
    return losses if reduction == 'none' else getattr(losses, reduction)()


def _check(logits, targets, weight, strength, sample_weight, reduction) -> None:
    if logits.dim() < 2 or targets.shape != logits.shape:
        raise ValueError(
            f'logits and targets must have one shape, (N, C) or (N, C, *spatial), got {tuple(logits.shape)} and '
            f'{tuple(targets.shape)}'
        )
    if weight.dim() != 2 or len(weight) != logits.shape[1]:
        raise ValueError(
            f'weight must have shape ({logits.shape[1]}, A) for logits {tuple(logits.shape)}, got {tuple(weight.shape)}'
        )
    expected = (logits.shape[0], *logits.shape[2:])
    if sample_weight is not None and tuple(sample_weight.shape) != expected:
        raise ValueError(f'sample_weight must have shape {expected}, got {tuple(sample_weight.shape)}')
    check_strength(strength)
    check_choice('reduction', reduction, REDUCTIONS)


def _augmented(z: Tensor, p: Tensor, weight: Tensor, statistics: ClassCovariance, strength: float | Tensor) -> Tensor:
    """(N,) losses of (N, C) logits and targets."""
    num_classes = len(weight)
    classes, row = p.argmax(1).unique(return_inverse=True)
    blocks, slot, size = _blocks(row, len(classes))
    # Unused places of a block have targets of 0 and so no loss.
    places = z.new_zeros(sum(blocks) * size, num_classes)
    z, p = (places.index_copy(0, slot, x).view(-1, size, num_classes) for x in (z, p))
    step = max(1, TABLE_ELEMENTS // num_classes**2)
    losses, used = [], 0
    for start in range(0, len(classes), step):
        group = slice(start, start + step)
        part = slice(used, used := used + sum(blocks[group]))
        inputs = z[part], p[part], weight, statistics, strength, classes[group], blocks[group]
        if step >= len(classes):
            losses.append(_block_losses(*inputs))
        else:
            version = statistics.covariance._version
            losses.append(checkpoint(_block_losses, *inputs, version=version, use_reentrant=False))
    return torch.cat(losses).flatten()[slot]


def _blocks(row: Tensor, num_classes: int) -> tuple[list[int], Tensor, int]:
    """Lay samples out in blocks of one class each, at most twice as many as there are classes.

    Of (N,) classes from 0 to K - 1, each of which occurs, it returns the number of blocks of each; (N,) the place of
    each sample; how many places a block has.
    """
    size = max(SMALLEST_BLOCK, len(row) // num_classes)
    count = torch.bincount(row, minlength=num_classes)
    blocks = (count + size - 1) // size
    order = row.argsort(stable=True)
    position = torch.empty_like(row)
    position[order] = torch.arange(len(row), device=row.device)
    # Places that the classes before leave unused.
    unused = blocks * size - count
    return blocks.tolist(), position + (unused.cumsum(0) - unused)[row], size


def _block_losses(
    z: Tensor,
    p: Tensor,
    weight: Tensor,
    statistics: ClassCovariance,
    strength: float | Tensor,
    classes: Tensor,
    blocks: list[int],
    *,
    version: int | None = None,
) -> Tensor:
    """(B, n) losses of (B, n, C) logits and targets in blocks of the given classes."""
    if version not in (None, statistics.covariance._version):
        raise RuntimeError(
            'the statistics were updated between isda_consistency and its backward pass: update them before, or run '
            'the backward pass first'
        )
    tables = _tables(weight, statistics, strength, classes)
    of_block = torch.arange(len(blocks)).repeat_interleave(torch.tensor(blocks)).to(z.device)
    return (p * (_log_sums(z, tables, of_block) - z)).sum(2)


def _tables(weight: Tensor, statistics: ClassCovariance, strength: float | Tensor, classes: Tensor) -> Tensor:
    """(K, C, C) terms lambda/2 (w_j - w_k)' Sigma_y (w_j - w_k) of the classes y."""
    gram = statistics.gram(weight, classes)
    square = gram.diagonal(dim1=1, dim2=2)
    tables = strength / 2 * (square.unsqueeze(2) + square.unsqueeze(1) - 2 * gram)
    return tables.masked_fill(torch.eye(len(weight), dtype=torch.bool, device=weight.device), 0)


def _log_sums(z: Tensor, tables: Tensor, of_block: Tensor) -> Tensor:
    """(B, n, C) log sum_j exp(z_j + T_kj) of each block's (n, C) logits and table T, for each k.

    The largest term of a sum is at least exp(-max T) after both factors are scaled to a largest value of 1, since
    the table is 0 on its diagonal. So the product is exact as long as that is far from underflow.
    """
    peak = tables.detach().amax(2, keepdim=True)
    if not peak.amax() <= PRODUCT_LIMITS[z.dtype]:
        tables = tables[of_block]
        each = [checkpoint(_log_sum, z, tables[:, k], use_reentrant=False) for k in range(tables.shape[1])]
        return torch.stack(each, 2)
    top = z.detach().amax(2, keepdim=True)
    factors = (tables - peak).exp()
    sums = torch.bmm((z - top).exp(), factors[of_block].mT)
    return sums.log() + top + peak.mT[of_block]


def _log_sum(z: Tensor, added: Tensor) -> Tensor:
    return (z + added.unsqueeze(1)).logsumexp(2)
