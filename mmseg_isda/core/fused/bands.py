"""The banded pass of :mod:`~mmseg_isda.core.fused`: from low-resolution logits to the loss and its gradients.

The plain way makes several tensors of N x C x H x W: the up-sampled logits, their softmax, and a gradient of each.
Here a band of a few output rows is made, used for the loss and its gradient, and overwritten by the next band.

A group of images lies in memory as (rows, images, classes, columns). Bilinear interpolation is two small matrices, so
the up-sampling of a band's rows is one matrix product, and its adjoint another. Exponents are of two, as exp2 takes
half the time of exp.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import devices
from ..labels import check_labels, resize_labels

LOG2_E = 1 / math.log(2)
MAX_ONE_HOT_ROWS = 40  # From there on it is faster to look up row by row.
MIN_EXPONENT = -100.0  # A sum of at least 2^-100 is far from underflow in float32.


class Settings(NamedTuple):
    """How a pass is made; see :func:`~mmseg_isda.core.fused.fused_cross_entropy`."""

    align_corners: bool
    at_label: bool
    ignore_index: int
    band_bytes: int
    label_smoothing: float = 0.0


class Wanted(NamedTuple):
    """What a pass has to yield beside the sum of the losses."""

    per_pixel: bool  # a map of losses in place of the sum
    hits: bool
    logits_grad: bool
    shift_grad: bool


def compute_dtype(logits: Tensor) -> torch.dtype:
    """float64 for float64 logits, else float32."""
    return torch.promote_types(logits.dtype, torch.float32)


class _Axis(NamedTuple):
    """Interpolation along one axis: row i of ``matrix`` (out, in) is zero outside [first[i], end[i])."""

    matrix: Tensor
    first: tuple[int, ...]
    end: tuple[int, ...]


@lru_cache(maxsize=64)
def _axis(old: int, new: int, align_corners: bool, dtype: torch.dtype, device: torch.device) -> _Axis:
    # To interpolate an identity takes over the rules at the edges. In float64, as positions are inexact in float32.
    identity = torch.eye(old, dtype=torch.float64)[None]
    matrix = F.interpolate(identity, size=new, mode='linear', align_corners=align_corners)[0].t()
    used = (matrix != 0).to(torch.uint8)
    first, end = used.argmax(1), old - used.flip(1).argmax(1)
    return _Axis(matrix.to(device, dtype).contiguous(), tuple(first.tolist()), tuple(end.tolist()))


class _Lookup:
    """Add its row of a table to each pixel of (rows, images, C, columns); ``index`` is (rows, images, columns).

    On a CPU a product with a one-hot matrix of the rows that occur is the fastest way while they are few. An
    accelerator would have to wait to learn which occur, so it takes them all: that is deterministic, too.
    """

    def __init__(self, index: Tensor, table: Tensor) -> None:
        num_rows = len(table)
        self.index, self.table, self.one_hot = index, table, None
        if devices.waits(index.device):
            self.present = torch.arange(num_rows, device=index.device)
        else:
            self.present = torch.bincount(index.flatten(), minlength=num_rows).nonzero().squeeze(1)
            if len(self.present) > MAX_ONE_HOT_ROWS:
                return
        rank = index.new_zeros(num_rows)
        rank[self.present] = torch.arange(len(self.present), device=index.device)
        one_hot = table.new_zeros(*index.shape[:2], len(self.present), index.shape[2])
        self.one_hot = one_hot.scatter_(2, rank[index].unsqueeze(2), 1).flatten(0, 1)

    def add_to(self, x: Tensor) -> None:
        if self.one_hot is None:
            x.add_(F.embedding(self.index, self.table).movedim(-1, 2))
        else:
            rows = self.table[self.present].t().expand(len(self.one_hot), -1, -1)
            x.flatten(0, 1).baddbmm_(rows, self.one_hot)

    def add_adjoint(self, grad: Tensor, table_grad: Tensor) -> None:
        if self.one_hot is None:
            # One pixel after the other: in float32 their many small terms would lose three digits.
            rows = grad.movedim(2, -1).to(torch.float64).flatten(0, 2)
            total = torch.zeros_like(table_grad, dtype=torch.float64)
            table_grad += total.index_add_(0, self.index.flatten(), rows).to(table_grad.dtype)
        else:
            table_grad[self.present] += torch.bmm(self.one_hot, grad.flatten(0, 1).transpose(1, 2)).sum(0)


class BandedPass:
    """What one pass over all images reads and makes.

    Attributes:
        loss: () sum over the pixels, or (N, H, W).
        hits: () number of pixels whose label has the largest plain logit.
        logits_grad: (N, C, h, w) gradient of the sum, or None.
        shift_grad: (C + 1, C) gradient of the sum, the last row being that of ignored pixels, or None.
    """

    def __init__(
        self,
        logits: Tensor,
        labels: Tensor,
        shift: Tensor | None,
        weight: Tensor | None,
        class_weight: Tensor | None,
        settings: Settings,
        wanted: Wanted,
    ) -> None:
        self.logits, self.labels, self.weight, self.class_weight = logits, labels, weight, class_weight
        self.settings, self.wanted = settings, wanted
        self.waits = devices.waits(logits.device)
        self.num_classes = classes = logits.shape[1]
        self.class_weight_sum = classes if class_weight is None else class_weight.sum()
        new: dict[str, Any] = {'dtype': compute_dtype(logits), 'device': logits.device}
        self.vertical, self.horizontal = (
            _axis(old, size, settings.align_corners, **new)
            for old, size in zip(logits.shape[2:], labels.shape[1:], strict=True)
        )
        # One more row, of zeros, for ignored pixels.
        self.table = None if shift is None else torch.cat([shift.to(new['dtype']), torch.zeros(1, classes, **new)])
        self.loss = torch.zeros(labels.shape if wanted.per_pixel else (), **new)
        self.hits = torch.zeros((), **new)
        self.logits_grad = torch.empty(logits.shape, **new) if wanted.logits_grad else None
        self.shift_grad = torch.zeros(classes + 1, classes, **new) if wanted.shift_grad else None

    def run(self) -> None:
        """Go through the images, as many at a time as keep their half up-sampled logits within four bands."""
        row_bytes = self.num_classes * self.labels.shape[2] * self.loss.element_size()
        images = 4 * self.settings.band_bytes // (self.logits.shape[2] * row_bytes)
        images = max(1, min(images, len(self.logits)))
        rows = max(1, self.settings.band_bytes // (images * row_bytes))
        for start in range(0, len(self.logits), images):
            _Group(self, slice(start, start + images)).run(rows)
        self.loss.div_(LOG2_E)


class _Group:
    """The images of a pass that are worked on together."""

    def __init__(self, owner: BandedPass, images: slice) -> None:
        self.owner, self.images = owner, images
        self.labels = owner.labels[images].transpose(0, 1).contiguous()
        self.weight = None if owner.weight is None else owner.weight[images].transpose(0, 1)
        x = owner.logits[images].permute(2, 0, 1, 3)
        x = x.to(owner.loss.dtype, memory_format=torch.contiguous_format, copy=True)
        self.plain = self.lookup = self.label_table = None
        if owner.table is not None and owner.settings.at_label:
            self.label_table = owner.table.sub(owner.table.amax(1, keepdim=True)).mul_(LOG2_E)
        elif owner.table is not None:
            self.plain = self._widened(x) if owner.wanted.hits else None
            low = resize_labels(owner.labels[images], x.shape[::3]).transpose(0, 1)
            valid = low != owner.settings.ignore_index
            self.lookup = _Lookup(self._index(low, valid, owner.num_classes), owner.table)
            self.lookup.add_to(x)
        # Softmax stays the same, and as an up-sampled exponent is a mean of others none will be above zero.
        x.sub_(x.amax(2, keepdim=True)).mul_(LOG2_E)
        self.may_underflow = self._may_underflow(x)
        self.wide = self._widened(x)
        self.grad = torch.zeros_like(self.wide) if owner.wanted.logits_grad or owner.wanted.shift_grad else None

    def _index(self, labels: Tensor, valid: Tensor, ignored: int) -> Tensor:
        """The labels, with ``ignored`` where they do not count. A bad one raises, where that means no wait."""
        index = torch.where(valid, labels, ignored)
        if not self.owner.waits:
            lowest, highest = index.aminmax()
            if lowest < 0 or highest > max(ignored, self.owner.num_classes - 1):
                check_labels(labels, self.owner.num_classes, self.owner.settings.ignore_index)
        return index

    def _widened(self, x: Tensor) -> Tensor:
        matrix = self.owner.horizontal.matrix
        return torch.mm(x.view(-1, x.shape[3]), matrix.t()).view(*x.shape[:3], -1)

    def _may_underflow(self, x: Tensor) -> bool:
        """Whether all exponents of an up-sampled pixel may be so low that their powers add up to nothing.

        The nearest of its four corners has at least a quarter of the weight, and one exponent there is zero. With a
        table that is added later, the class that its row favours has at least its up-sampled exponent.
        """
        if self.owner.waits:
            return True
        lowest = x.amin() * (0.75 if self.label_table is None else 1)
        return not lowest > MIN_EXPONENT

    def run(self, rows: int) -> None:
        """Go through bands of ``rows`` output rows, and hand the gradients to the pass."""
        owner, height = self.owner, len(self.labels)
        memory = self.wide.new_empty(min(rows, height), *self.wide.shape[1:])
        for start in range(0, height, rows):
            stop = min(start + rows, height)
            self._run_band(memory[: stop - start], slice(start, stop))
        if self.grad is None:
            return
        grad = torch.mm(self.grad.view(-1, self.grad.shape[3]), owner.horizontal.matrix).view(*self.grad.shape[:3], -1)
        if owner.shift_grad is not None and self.lookup is not None:
            self.lookup.add_adjoint(grad, owner.shift_grad)
        if owner.logits_grad is not None:
            owner.logits_grad[self.images] = grad.permute(1, 2, 0, 3)

    def _run_band(self, band: Tensor, rows: slice) -> None:
        """Add what these output rows contribute to the loss, the hits and the gradients."""
        owner, axis, labels = self.owner, self.owner.vertical, self.labels[rows]
        inputs = slice(axis.first[rows.start], axis.end[rows.stop - 1])
        matrix = axis.matrix[rows, inputs]
        valid = labels != owner.settings.ignore_index
        index = self._index(labels, valid, 0).unsqueeze(2)
        self._fill(band, matrix, inputs, index, valid)
        lookup = None
        if self.label_table is not None:
            lookup = _Lookup(self._index(labels, valid, owner.num_classes), self.label_table)
            lookup.add_to(band)
        if self.may_underflow:
            band.sub_(band.amax(2, keepdim=True))
        factor = self._factor(valid, index.squeeze(2), rows).unsqueeze(2)
        smooth = self._smooth_factor(valid, rows)
        mean_logit = None if smooth is None else self._sum_over_classes(band)
        own = band.gather(2, index)
        total = band.exp2_().sum(2, keepdim=True)
        log_total = total.log2()
        loss = (log_total - own).mul_(factor)
        if smooth is not None:
            loss += (log_total * self.owner.class_weight_sum - mean_logit).mul_(smooth)
        self._add_loss(loss.squeeze(2), rows)
        if self.grad is None:
            return
        # (softmax - target) * factor, for each of the two targets
        share = factor if smooth is None else factor + smooth * self.owner.class_weight_sum
        band.mul_(share / total).scatter_add_(2, index, factor.neg())
        if smooth is not None:
            band.sub_(smooth if owner.class_weight is None else smooth * owner.class_weight.view(-1, 1))
        if lookup is not None and owner.shift_grad is not None:
            lookup.add_adjoint(band, owner.shift_grad)
        self.grad[inputs].flatten(1).addmm_(matrix.t(), band.flatten(1))

    def _fill(self, band: Tensor, matrix: Tensor, inputs: slice, index: Tensor, valid: Tensor) -> None:
        """Up-sample the exponents into a band, and count the hits of the plain logits."""
        sources = [self.wide] if self.plain is None else [self.plain, self.wide]
        for source in sources:
            torch.mm(matrix, source[inputs].flatten(1), out=band.flatten(1))
            if self.owner.wanted.hits and source is sources[0]:
                hit = band.gather(2, index) >= band.amax(2, keepdim=True)
                self.owner.hits.add_((hit.squeeze(2) & valid).sum())

    def _factor(self, valid: Tensor, index: Tensor, rows: slice) -> Tensor:
        factor = valid.to(self.owner.loss.dtype)
        if self.owner.class_weight is not None:
            factor.mul_(self.owner.class_weight[index])
        if self.weight is not None:
            factor.mul_(self.weight[rows])
        return factor.mul_(1 - self.owner.settings.label_smoothing) if self.owner.settings.label_smoothing else factor

    def _smooth_factor(self, valid: Tensor, rows: slice) -> Tensor | None:
        """What multiplies each class's term of the uniform target, (rows, images, 1, columns); None without one."""
        share = self.owner.settings.label_smoothing / self.owner.num_classes
        if share == 0:
            return None
        factor = valid.to(self.owner.loss.dtype).mul_(share)
        return (factor if self.weight is None else factor.mul_(self.weight[rows])).unsqueeze(2)

    def _sum_over_classes(self, band: Tensor) -> Tensor:
        weight = self.owner.class_weight
        return band.sum(2, keepdim=True) if weight is None else (band * weight.view(-1, 1)).sum(2, keepdim=True)

    def _add_loss(self, loss: Tensor, rows: slice) -> None:
        if self.owner.wanted.per_pixel:
            self.owner.loss[self.images].transpose(0, 1)[rows] = loss
        else:
            self.owner.loss.add_(loss.sum())
