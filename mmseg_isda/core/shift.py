"""The term that ISDA adds to the logits, as a table of label and logit: Eq. 7 of the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from . import devices
from .checks import check_strength
from .precision import full_precision

if TYPE_CHECKING:
    from .statistics import ClassCovariance

PIXELS_PER_PRODUCT = 1 << 16
# One class at a time on a CPU, whose products are large enough; many at a time where each is a launch.
BYTES_PER_PRODUCT = {'cpu': 1, 'other': 1 << 27}


def logit_shift(
    weight: Tensor, covariance: Tensor, strength: float | Tensor, *, classes: Tensor | None = None
) -> Tensor:
    r"""Return what is added to logit j of a pixel with label y (Eq. 7).

    .. math:: \mathrm{shift}_{yj} = \tfrac{\lambda}{2} (w_j - w_y)^T \Sigma_y (w_j - w_y)

    It depends on nothing of the pixel but its label, so it is computed once per iteration and looked up. Gradients
    reach ``weight`` and never ``covariance``. Always float32 or better, under autocast too.

    Args:
        weight: (C, A) rows :math:`w_j` of the classifier.
        covariance: (C, A) variances, (C, A, A) matrices, or one of either for all classes: (1, A), (1, A, A).
        strength: :math:`\lambda` of this iteration, 0 or more.
        classes: (K,) int64, the labels whose rows are wanted, in any order and also repeated; by default all. A batch
            with few classes of many needs few rows.

    Returns:
        (K, C), (C, C) by default: row y is what a pixel with label y gets; its own logit is not shifted.

    Raises:
        ValueError: if the shapes do not fit, or ``strength`` is a negative number.

    Example:
        >>> logit_shift(torch.eye(2), torch.ones(2, 2), 1.0)
        tensor([[0., 1.],
                [1., 0.]])
    """
    _check(weight, covariance, strength)
    with full_precision(weight.device):
        weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
        covariance = covariance.detach().to(weight.dtype)
        # A common offset of all rows cancels in w_j - w_y, but not in the rounding of its squares.
        weight = weight - weight.mean(0)
        if covariance.dim() == 2:
            # Copied, as the running variance changes in place, perhaps before the backward pass.
            variance = covariance.clone() if classes is None or len(covariance) == 1 else covariance[classes]
            quadratic = diagonal_form(weight, variance, weight if classes is None else weight[classes])
        elif len(covariance) == 1:
            quadratic = _shared_form(weight, covariance[0], classes)
        else:
            quadratic = _MatrixForm.apply(weight, covariance, classes)
        labels = torch.arange(len(weight), device=weight.device)
        own = (labels if classes is None else classes).unsqueeze(1) == labels
        return (strength / 2 * quadratic).masked_fill(own, 0)


def shift_table(
    statistics: ClassCovariance,
    weight: Tensor,
    strength: float | Tensor,
    *,
    count: Tensor | None = None,
    labels: Tensor | None = None,
) -> Tensor:
    """Return the whole table of an iteration, (C, C), on the CPU with the rows of the classes present alone.

    Args:
        statistics: of the classes.
        weight: (C, A) rows of the classifier.
        strength: lambda of this iteration.
        count: (C,) how often each label will be looked up; the rows of others may be left zero.
        labels: in place of ``count``, the labels themselves; those out of range are ignored.
    """
    if devices.waits(weight.device):  # To find the classes present would mean to wait for the device.
        return statistics.shift(weight, strength)
    if count is None:
        count = torch.bincount(labels.flatten().clamp(0, len(weight)), minlength=len(weight))[: len(weight)]
    classes = count.nonzero().squeeze(1)
    rows = statistics.shift(weight, strength, classes)
    return rows.new_zeros(len(weight), len(weight)).index_copy(0, classes, rows)


def shift_of_vectors(
    statistics: ClassCovariance, weight: Tensor, strength: float | Tensor, labels: Tensor, ignore_index: int
) -> Tensor:
    """Return what is added to the logits of each vector, (N, C); only the rows of the table that it needs are made.

    Args:
        statistics: of the classes.
        weight: (C, A) rows of the classifier.
        strength: lambda of this iteration.
        labels: (N,) int64, each a class or ``ignore_index``.
        ignore_index: label of the vectors that get nothing.
    """
    valid = labels != ignore_index
    labels = labels.masked_fill(~valid, 0)
    is_full = statistics.covariance.dim() == 3 and len(statistics.covariance) > 1
    if not devices.waits(labels.device):
        classes, row = labels.unique(return_inverse=True)
        added = F.embedding(row, statistics.shift(weight, strength, classes))
    elif len(labels) < len(weight) and not is_full:
        # To find the classes present would wait for the device: a row for each vector, though some are equal.
        added = statistics.shift(weight, strength, labels)
    else:
        added = F.embedding(labels, statistics.shift(weight, strength))
    return added.masked_fill(~valid.unsqueeze(1), 0)


def _check(weight: Tensor, covariance: Tensor, strength: float | Tensor) -> None:
    if weight.dim() != 2:
        raise ValueError(f'weight must have shape (C, A), got {tuple(weight.shape)}')
    classes, size = weight.shape
    shape = tuple(covariance.shape)
    if not shape or shape[0] not in (1, classes) or shape[1:] not in ((size,), (size, size)):
        raise ValueError(
            f'covariance must have shape ({classes}, {size}), ({classes}, {size}, {size}) or 1 in place of {classes} '
            f'for a weight of shape {tuple(weight.shape)}, got {shape}'
        )
    check_strength(strength)


def diagonal_form(weight: Tensor, variance: Tensor, own: Tensor) -> Tensor:
    """(K, C) forms (w_j - w_y)' diag(v_y) (w_j - w_y) of (C, A) w_j, (K, A) or (1, A) variances, and (K, A) own w_y."""
    scaled = variance * own
    return variance @ weight.square().t() - 2 * scaled @ weight.t() + (scaled * own).sum(1, keepdim=True)


def _shared_form(weight: Tensor, matrix: Tensor, classes: Tensor | None) -> Tensor:
    """(K, C) forms for one matrix of all classes: w_j' S w_j + w_y' S w_y - 2 w_y' S w_j."""
    scaled = weight @ matrix.clone()  # Copied, as the running matrix changes in place.
    squares = (scaled * weight).sum(1)
    own = slice(None) if classes is None else classes
    return squares + squares[own].unsqueeze(1) - 2 * scaled[own] @ weight.t()


class _MatrixForm(torch.autograd.Function):
    """(K, C) forms (w_j - w_y)' Sigma_y (w_j - w_y) for full matrices, a few classes at a time.

    With D = W - w_y and U = D Sigma_y the row is sum(U * D, 1) and its derivative with respect to D is 2 U. Kept is U,
    (K, C, A), or where that is less a copy of the matrices, (K, A, A): the running ones change in place. The second
    derivative needs the matrices: it asks for the running ones, and raises if they have changed.
    """

    @staticmethod
    def forward(ctx, weight: Tensor, covariance: Tensor, classes: Tensor | None) -> Tensor:
        if classes is None:
            classes = torch.arange(len(weight), device=weight.device)
        num_classes, size = weight.shape
        ctx.keeps_products = size >= num_classes
        ctx.covariance, ctx.version = covariance, covariance._version
        kept = weight.new_empty(len(classes), num_classes if ctx.keeps_products else size, size)
        forms = weight.new_empty(len(classes), num_classes)
        for part in _parts(weight, len(classes)):
            matrices = covariance[classes[part]]
            difference = weight - weight[classes[part]].unsqueeze(1)
            products = torch.bmm(difference, matrices)
            kept[part] = products if ctx.keeps_products else matrices
            torch.sum(difference.mul_(products), 2, out=forms[part])
        ctx.save_for_backward(kept, classes, weight)
        return forms

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        kept, classes, weight = ctx.saved_tensors
        create_graph = torch.is_grad_enabled()
        if create_graph and ctx.covariance._version != ctx.version:
            raise RuntimeError(
                'the full covariances were updated between the forward pass and a backward pass with '
                'create_graph=True: take second derivatives before the next update of the statistics'
            )
        grad_weight = torch.zeros_like(weight)
        for part in _parts(weight, len(classes)):
            products = kept[part]
            if create_graph or not ctx.keeps_products:
                matrices = ctx.covariance[classes[part]] if create_graph else products
                products = torch.bmm(weight - weight[classes[part]].unsqueeze(1), matrices)
            # d form[y, j] reaches w_j with the sign +, and w_y with the sign -.
            grad_products = products * (2 * grad[part]).unsqueeze(2)
            grad_weight += grad_products.sum(0)
            grad_weight.index_add_(0, classes[part], grad_products.sum(1), alpha=-1)
        return grad_weight, None, None


def _parts(weight: Tensor, num_classes: int) -> list[slice]:
    """Return slices of the classes that are worked on together."""
    budget = BYTES_PER_PRODUCT['cpu' if weight.device.type == 'cpu' else 'other']
    step = max(1, budget // (weight.element_size() * weight.shape[1] * max(weight.shape)))
    return [slice(start, start + step) for start in range(0, num_classes, step)]


def add_shift(logits: Tensor | None, labels: Tensor, shift: Tensor, ignore_index: int = 255) -> Tensor:
    r"""Add its row of the table to the logits of each labeled position; ignored ones get nothing.

    Args:
        logits: (N, C, *spatial), or None for zeros.
        labels: (N, *spatial) integers.
        shift: (C, C), row y for label y.
        ignore_index: label of the positions to leave as they are.

    Returns:
        (N, C, *spatial) shifted logits, in the more precise type of ``logits`` and ``shift``.
    """
    if labels.dim() == 1:
        columns = None if logits is None else logits.t().unsqueeze(0)
        return _AddShift.apply(columns, labels.unsqueeze(0), shift, ignore_index).squeeze(0).t()
    return _AddShift.apply(logits, labels, shift, ignore_index)


class _AddShift(torch.autograd.Function):
    """A look-up that writes straight into the layout of the logits, with a deterministic gradient."""

    @staticmethod
    def forward(ctx, logits: Tensor | None, labels: Tensor, shift: Tensor, ignore_index: int) -> Tensor:
        classes = len(shift)
        # One more column, of zeros, for ignored positions.
        columns = torch.cat([shift, shift.new_zeros(1, classes)]).t().contiguous()
        index = labels.flatten(1).long().masked_fill(labels.flatten(1) == ignore_index, classes)
        shifted = shift.new_empty(len(labels), classes, index.shape[1])
        for out, row in zip(shifted, index, strict=True):
            torch.index_select(columns, 1, row, out=out)
        shifted = shifted.view(len(labels), classes, *labels.shape[1:])
        ctx.save_for_backward(labels)
        ctx.ignore_index, ctx.num_classes = ignore_index, classes
        ctx.logits_dtype = None if logits is None else logits.dtype
        ctx.shift_dtype = shift.dtype
        if logits is None:
            return shifted
        if shifted.dtype != torch.promote_types(shifted.dtype, logits.dtype):
            return shifted + logits
        # Past autograd: torch.compile of PyTorch 2.11 loses the gradient of a result that was changed in place.
        shifted.detach().add_(logits.detach())
        return shifted

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None, None]:
        # Of operations that autograd knows, on the gradient alone: so the second derivative is right.
        (labels,) = ctx.saved_tensors
        grad_logits = grad.to(ctx.logits_dtype) if ctx.needs_input_grad[0] else None
        grad_shift = None
        if ctx.needs_input_grad[2]:
            with full_precision(grad.device):
                grad_shift = _sum_by_label(grad, labels, ctx.num_classes, ctx.ignore_index).to(ctx.shift_dtype)
        return grad_logits, None, grad_shift, None


def _sum_by_label(grad: Tensor, labels: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """(C, C): row y is the sum of the (N, C, *spatial) gradients over the positions with label y."""
    total = grad.new_zeros(num_classes, num_classes)
    for image, image_labels in zip(grad.flatten(2), labels.flatten(1), strict=True):
        for part, row in zip(image.split(PIXELS_PER_PRODUCT, 1), image_labels.split(PIXELS_PER_PRODUCT), strict=True):
            valid = row != ignore_index
            onehot = grad.new_zeros(num_classes, len(row))
            onehot.scatter_(0, row.masked_fill(~valid, 0).long()[None], valid[None].to(grad.dtype))
            total = total + onehot @ part.t() if torch.is_grad_enabled() else total.addmm_(onehot, part.t())
    return total
