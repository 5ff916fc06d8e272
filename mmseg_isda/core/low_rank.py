"""Full covariances in bounded memory: a few directions of each class, and the exact variance of every feature."""

from __future__ import annotations

import torch
from torch import Tensor

from .checks import check_choice, check_rank, check_strength
from .moments import class_moments
from .pooling import is_distributed
from .precision import full_precision
from .shift import diagonal_form
from .statistics import KINDS, ClassCovariance

COVARIANCES = (*KINDS, 'low_rank')
# Bounds the float64 copies.
CLASSES_AT_A_TIME = 64


class LowRankCovariance(ClassCovariance):
    r"""A full covariance of each class as :math:`F_j^T F_j` plus a diagonal, in C (r + 2) A numbers, not C A A.

    .. math::
        \Sigma_j \approx \hat\Sigma_j = F_j^T F_j + \mathrm{diag}(d_j), \qquad d_j = \mathrm{diag}(\Sigma_j) -
        \mathrm{diag}(F_j^T F_j) \ge 0

    Eq. 2 of the paper adds outer products: of the old covariance, of the batch's features around their mean, and of the
    step between the means. Their rows are stacked, and the r strongest orthogonal directions of the stack are kept
    (an incremental singular value decomposition). What is cut off is the sum of the matrices T >= 0 that the cuts
    dropped, of which the diagonal d is known exactly, since the variances are those of
    :class:`~mmseg_isda.core.ClassCovariance` of kind ``'diagonal'``. So

    - count, mean and variances are exact, always; the whole matrix is while a class has had r + 1 images at most, or
      its features lie in r dimensions;
    - for any v the error is bounded by what is known:
      :math:`v^T d v - (\sum_a \sqrt{d_a} |v_a|)^2 \le v^T (\hat\Sigma - \Sigma) v \le v^T d v`, :math:`d` as a
      diagonal matrix.

    Several processes gather features and labels of the joined batch, which are small beside the statistics, and each
    does what one process would do with them.

    Args:
        num_classes: C.
        num_features: A.
        rank: r, directions kept of each class. For 1000 classes of 2048 features, 16 make statistics of 147 MB;
            full ones would take 16.8 GB.
        sync: gather the batches of all processes of the default group, where there are several.

    Buffers:
        count, mean: as in :class:`~mmseg_isda.core.ClassCovariance`.
        covariance: (C, A) float32 variances, the diagonal of the covariances. Exact.
        factor: (C, r, A) float32, :math:`F_j`, its rows orthogonal to each other.
        num_skipped: as there.

    Raises:
        ValueError: if ``num_classes < 2``, ``num_features < 1`` or ``rank < 1``.
    """

    factor: Tensor

    def __init__(self, num_classes: int, num_features: int, rank: int = 16, *, sync: bool = True) -> None:
        super().__init__(num_classes, num_features, 'diagonal', sync=sync)
        self.kind = 'low_rank'
        check_rank(rank)
        self.rank = rank
        self.register_buffer('factor', torch.zeros(num_classes, rank, num_features))

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
        """Take a batch into the statistics (Eqs. 1 to 3); see the base class. It touches the classes present alone."""
        self._check_batch(features, labels, ignore_index)
        # One wait for the labels: which rows belong together is worked out on the host.
        labels = labels.flatten().long().cpu()
        kept = (labels != ignore_index).nonzero().squeeze(1)
        rows = features.detach().movedim(1, -1).reshape(-1, self.num_features)
        rows, labels = rows.index_select(0, kept.to(rows.device, non_blocking=True)), labels[kept]
        counts = torch.bincount(labels, minlength=self.num_classes).to(rows.device, non_blocking=True)
        there = labels.to(rows.device, non_blocking=True)
        if self.sync and is_distributed():
            rows, there = self._gatherer(rows, there)
            labels = there.cpu()
        batch = class_moments(rows, there, self.num_classes, ignore_index, 'diagonal', dtype=self.mean.dtype)
        if len(labels) and self._is_sound(batch):
            with full_precision(rows.device):
                self._update_factor(rows.to(self.mean.dtype), labels, batch.mean)
        self._merge(batch)
        return counts

    def _update_factor(self, rows: Tensor, labels: Tensor, batch_mean: Tensor) -> None:
        """Eq. 2 for the factors, with the counts and means of before the batch; ``labels`` are on the host."""

        def there(indices: Tensor) -> Tensor:
            return indices.to(rows.device, non_blocking=True)

        labels, order = labels.sort(stable=True)
        present, position, count = labels.unique_consecutive(return_inverse=True, return_counts=True)
        within = torch.arange(len(labels)) - (count.cumsum(0) - count)[position]
        classes, of_row = there(present), there(position)
        old, new, mean = self.count[classes].double(), there(count), batch_mean[classes]
        total = old + new
        centred = (rows[there(order)] - mean[of_row]) / total.sqrt().to(rows.dtype)[of_row].unsqueeze(1)
        step = (self.mean[classes] - mean) * ((old * new).sqrt() / total).to(rows.dtype).unsqueeze(1)
        factor = self.factor[classes] * (old / total).sqrt().to(rows.dtype).view(-1, 1, 1)
        factor = torch.cat([factor, step.unsqueeze(1)], 1)
        # A class with many rows takes several rounds, so that no more than 2 r + 1 rows a class are ever stacked.
        width = min(self.rank, int(count.max()))
        for start in range(0, int(count.max()), width):
            chosen = ((within >= start) & (within < start + width)).nonzero().squeeze(1)
            slots, slot = position[chosen].unique_consecutive(return_inverse=True)
            stack = rows.new_zeros(len(slots) * width, self.num_features)
            stack.index_copy_(0, there(slot * width + within[chosen] - start), centred[there(chosen)])
            stack = stack.view(len(slots), width, -1)
            merged = strongest_directions(torch.cat([factor[there(slots)], stack], 1), self.rank)
            # All classes have rows in the first round, which also takes in the step.
            factor = merged if start == 0 else factor.index_copy_(0, there(slots), merged)
        self.factor[classes] = factor

    def matrices(self, classes: Tensor | None = None) -> Tensor:
        """Return the covariances that the factors stand for, see the base class."""
        index = slice(None) if classes is None else classes
        factor, variance = self.factor[index], self.covariance[index]
        return factor.mT @ factor + torch.diag_embed(residual_variance(factor, variance))

    def shift(self, weight: Tensor, strength: float | Tensor, classes: Tensor | None = None) -> Tensor:
        """Return the shift table of Eq. 7, see :func:`low_rank_shift` and the base class."""
        return low_rank_shift(weight, self.factor, self.covariance, strength, classes=classes)

    def _gram(self, weight: Tensor, classes: Tensor) -> Tensor:
        factor, variance = self.factor[classes].to(weight.dtype), self.covariance[classes].to(weight.dtype)
        projected = weight @ factor.mT
        rest = residual_variance(factor, variance)
        return projected @ projected.mT + (weight * rest.unsqueeze(1)) @ weight.t()

    def extra_repr(self) -> str:
        return f'{self.num_classes}, {self.num_features}, kind={self.kind!r}, rank={self.rank}, sync={self.sync}'


def strongest_directions(rows: Tensor, rank: int) -> Tensor:
    r"""The best approximation of :math:`B^T B` by r rows: the strongest ones after a rotation of B's rows.

    The rotation comes from the small matrix :math:`B B^T`, in float64. As it is orthogonal, what is kept and what is
    dropped add up to :math:`B^T B` exactly. Of (K, n, A), one B for each of K classes, it makes (K, r, A) rows that are
    orthogonal to each other, the strongest first; zeros where n < r.
    """
    kept = torch.cat([_rotated(part.double(), rank).to(rows.dtype) for part in rows.split(CLASSES_AT_A_TIME)])
    missing = rank - kept.shape[1]
    return kept if missing <= 0 else torch.cat([kept, kept.new_zeros(len(kept), missing, kept.shape[2])], 1)


def _rotated(rows: Tensor, rank: int) -> Tensor:
    _, vectors = torch.linalg.eigh(rows @ rows.mT)
    return vectors[..., -rank:].flip(-1).mT @ rows


def residual_variance(factor: Tensor, variance: Tensor) -> Tensor:
    """(K, A) what the (K, r, A) factors leave of the (K, A) variances; never negative."""
    return (variance - factor.square().sum(1)).clamp_min(0)


def low_rank_shift(
    weight: Tensor, factor: Tensor, variance: Tensor, strength: float | Tensor, *, classes: Tensor | None = None
) -> Tensor:
    r"""What is added to logit j of a sample with label y (Eq. 7), for the covariances of :class:`LowRankCovariance`.

    .. math::
        \mathrm{shift}_{yj} = \tfrac{\lambda}{2} \Bigl( \|F_y (w_j - w_y)\|^2 + \sum_a d_{ya} (w_{ja} - w_{ya})^2
        \Bigr)

    The largest tensor is K x r x C. Gradients reach ``weight`` alone. The other arguments, the result and the errors
    are those of :func:`~mmseg_isda.core.logit_shift`.

    Args:
        factor: (C, r, A) :math:`F_y`.
        variance: (C, A) diagonals of the covariances.
    """
    _check_shift(weight, factor, variance, strength)
    if classes is None:
        classes = torch.arange(len(weight), device=weight.device)
    with full_precision(weight.device):
        weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
        weight = weight - weight.mean(0)  # see logit_shift
        factor = factor.detach()[classes].to(weight.dtype)
        variance = residual_variance(factor, variance.detach()[classes].to(weight.dtype))
        own = weight[classes]
        projected = factor @ weight.t()
        projected = projected - (factor @ own.unsqueeze(2))
        rest = diagonal_form(weight, variance, own)
        is_own = classes.unsqueeze(1) == torch.arange(len(weight), device=weight.device)
        return (strength / 2 * (projected.square().sum(1) + rest)).masked_fill(is_own, 0)


def _check_shift(weight: Tensor, factor: Tensor, variance: Tensor, strength: float | Tensor) -> None:
    if weight.dim() != 2:
        raise ValueError(f'weight must have shape (C, A), got {tuple(weight.shape)}')
    classes, size = weight.shape
    if factor.dim() != 3 or (factor.shape[0], factor.shape[2]) != (classes, size):
        raise ValueError(f'factor must have shape ({classes}, r, {size}), got {tuple(factor.shape)}')
    if tuple(variance.shape) != (classes, size):
        raise ValueError(f'variance must have shape ({classes}, {size}), got {tuple(variance.shape)}')
    check_strength(strength)


def new_statistics(
    covariance: str, num_classes: int, num_features: int, *, rank: int = 16, sync: bool = True
) -> ClassCovariance:
    """Return empty statistics of a kind.

    Args:
        covariance: one of ``COVARIANCES``: the kinds of :class:`~mmseg_isda.core.ClassCovariance`, or ``'low_rank'``.
        num_classes: C.
        num_features: A.
        rank: directions that ``'low_rank'`` keeps of each class.
        sync: pool across ranks.

    Raises:
        ValueError: if an argument is out of range.
    """
    check_choice('covariance', covariance, COVARIANCES)
    if covariance == 'low_rank':
        return LowRankCovariance(num_classes, num_features, rank, sync=sync)
    return ClassCovariance(num_classes, num_features, covariance, sync=sync)
