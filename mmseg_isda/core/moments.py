"""Count, mean and covariance of each class in one batch, and their exact pooling over processes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from .precision import full_precision

# Small enough for a processor's cache, large enough that the launches of an accelerator do not count.
CHUNK_ELEMENTS = {'cpu': 1 << 20, 'other': 1 << 26}
PIXELS_PER_PRODUCT = 4096


class ClassMoments(NamedTuple):
    """Statistics of one batch.

    Attributes:
        count: (C,) int64.
        mean: (C, A); zero for absent classes.
        covariance: biased; (C, A) for kind diagonal, (1, A, A) for shared, (K, A, A) for full, empty for identity.
        classes: (K,) the classes that the rows of a full ``covariance`` belong to.
    """

    count: Tensor  # type: ignore[assignment]  # not the method of tuples
    mean: Tensor
    covariance: Tensor
    classes: Tensor

    def is_finite(self) -> Tensor:
        """Scalar bool on the device: no NaN and no infinity."""
        return self.mean.isfinite().all() & self.covariance.isfinite().all()


def total_mean(count: Tensor, mean: Tensor) -> Tensor:
    """(A,) float64 mean over all classes, from (C,) counts and (C, A) means."""
    return count.double() @ mean.double() / count.sum().clamp_min(1)


def class_moments(
    features: Tensor, labels: Tensor, num_classes: int, ignore_index: int, kind: str, *, dtype: torch.dtype
) -> ClassMoments:
    r"""Count, mean :math:`\mu'_j` and covariance :math:`\Sigma'_j` of each class in a batch, for Eqs. 1 and 2.

    Two passes, the second around the mean of each class, so that the variance keeps its accuracy when it is a millionth
    of the squared mean. Sums over a class are products with a one-hot matrix: no copy of the features in another
    layout, no atomics, and only the classes present on the CPU.

    Args:
        features: (P, A) or (N, A, *spatial).
        labels: (P,) or (N, *spatial), each a class or ``ignore_index``.
        num_classes: C.
        ignore_index: label of the pixels to leave out.
        kind: see :class:`~mmseg_isda.core.ClassCovariance`.
        dtype: of the results.
    """
    maps, labels = _as_maps(features, labels)
    valid = labels != ignore_index
    with full_precision(features.device):
        classes = _present_classes(labels, valid, num_classes)
        onehot = _one_hot(labels, valid, classes, num_classes, dtype)
        count = onehot.sum((0, 1), dtype=torch.float64)
        mean, variance = _mean_and_variance(maps, onehot, count.clamp_min(1).to(dtype), kind == 'diagonal')
        if kind == 'full':
            # On an accelerator the classes looked at may be absent: 0 / 1, not 0 / 0.
            covariance = _class_scatter(maps, labels, classes, _spread(mean, classes, num_classes))
            covariance.div_(count.clamp_min(1).to(dtype).view(-1, 1, 1))
        elif kind == 'shared':
            covariance = _total_covariance(maps, valid, total_mean(count, mean.t()).to(dtype), count.sum())
        else:
            covariance = _spread(variance, classes, num_classes) if kind == 'diagonal' else mean.new_empty(0)
    return ClassMoments(
        count.new_zeros(num_classes, dtype=torch.int64).index_copy_(0, classes, count.long()),
        _spread(mean, classes, num_classes),
        covariance,
        classes,
    )


def _as_maps(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(N, A, P) features and (N, P) labels."""
    if features.dim() == 2:
        return features.t().unsqueeze(0), labels.unsqueeze(0)
    return features.flatten(2), labels.flatten(1)


def _present_classes(labels: Tensor, valid: Tensor, num_classes: int) -> Tensor:
    """(K,) classes to look at: on an accelerator all of them, as finding the present ones would wait for it."""
    if labels.device.type != 'cpu':
        return torch.arange(num_classes, device=labels.device)
    return torch.bincount(labels[valid].long(), minlength=num_classes).nonzero().squeeze(1)


def _one_hot(labels: Tensor, valid: Tensor, classes: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
    """(N, P, K): 1 where a pixel belongs to a class; rows of ignored pixels are 0."""
    column = torch.zeros(num_classes, dtype=torch.int64, device=labels.device)
    column[classes] = torch.arange(len(classes), device=labels.device)
    onehot = torch.zeros(*labels.shape, max(len(classes), 1), dtype=dtype, device=labels.device)
    index = column[labels.masked_fill(~valid, 0).long()]
    return onehot.scatter_(2, index.unsqueeze(2), valid.unsqueeze(2).to(dtype))[..., : len(classes)]


def _spread(columns: Tensor, classes: Tensor, num_classes: int) -> Tensor:
    """(A, K) of the classes given, to (C, A) of all, zero elsewhere."""
    return columns.new_zeros(num_classes, columns.shape[0]).index_copy_(0, classes, columns.t())


def _mean_and_variance(maps: Tensor, onehot: Tensor, count: Tensor, with_variance: bool) -> tuple[Tensor, Tensor]:
    """(A, K) mean and (A, K) variance (empty if not asked for), a group of features at a time."""
    images, size, pixels = maps.shape
    budget = CHUNK_ELEMENTS['cpu' if maps.device.type == 'cpu' else 'other']
    chunk = max(16, budget // max(images * pixels, 1))
    mean = onehot.new_zeros(size, onehot.shape[2])
    variance = torch.zeros_like(mean) if with_variance else mean.new_empty(0)
    for start in range(0, size, chunk):
        part = maps[:, start : start + chunk].to(onehot.dtype)
        rows = slice(start, start + part.shape[1])
        mean[rows] = torch.matmul(part, onehot).sum(0) / count
        if with_variance:
            centres = mean[rows].neg().expand(images, -1, -1)
            centred = torch.baddbmm(part, centres, onehot.transpose(1, 2))
            variance[rows] = torch.matmul(centred.square_(), onehot).sum(0) / count
    return mean, variance


def centred_blocks(features: Tensor, labels: Tensor, classes: Tensor, mean: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Blocks of pixels of one class, around the mean of that class.

    Args:
        features: (P, A) or (N, A, *spatial).
        labels: (P,) or (N, *spatial).
        classes: (K,) ascending, the classes to look for.
        mean: (C, A).

    Yields:
        A class, and (A, Q) differences of Q of its pixels; each class as often as its pixels ask for.
    """
    maps, labels = _as_maps(features, labels)
    names = classes.tolist()
    for image, image_labels in zip(maps, labels, strict=True):
        # Pixels in the order of their classes; their numbers are the only thing that the host waits for.
        order = image_labels.argsort(stable=True)
        bounds = torch.searchsorted(image_labels[order].long(), torch.stack([classes, classes + 1])).tolist()
        for label, first, end in zip(names, *bounds, strict=True):
            for pixels in order[first:end].split(PIXELS_PER_PRODUCT) if end > first else ():
                yield label, image.index_select(1, pixels).to(mean.dtype).sub_(mean[label].unsqueeze(1))


def _class_scatter(maps: Tensor, labels: Tensor, classes: Tensor, mean: Tensor) -> Tensor:
    """(K, A, A) sums of outer products around the class means: one product per class and block of its pixels."""
    scatter = mean.new_zeros(len(classes), mean.shape[1], mean.shape[1])
    row = {label: index for index, label in enumerate(classes.tolist())}
    for label, centred in centred_blocks(maps, labels, classes, mean):
        scatter[row[label]].addmm_(centred, centred.t())
    return scatter


def _total_covariance(maps: Tensor, valid: Tensor, centre: Tensor, count: Tensor) -> Tensor:
    """(1, A, A) covariance of all labelled pixels around their common mean."""
    scatter = centre.new_zeros(len(centre), len(centre))
    for image, mask in zip(maps, valid, strict=True):
        for part, keep in zip(image.split(PIXELS_PER_PRODUCT, 1), mask.split(PIXELS_PER_PRODUCT), strict=True):
            centred = (part.to(centre.dtype) - centre.unsqueeze(1)) * keep
            scatter.addmm_(centred, centred.t())
    return scatter.div_(count.clamp_min(1).to(centre.dtype)).unsqueeze(0)


def pool_over_ranks(batch: ClassMoments, running_count: Tensor, running_mean: Tensor, kind: str) -> ClassMoments:
    r"""The moments of the joined batch of all processes: one all-reduce of float64 sums.

    Each process sends :math:`m_j`, :math:`m_j d_j` and :math:`m_j (\Sigma'_j + d_j d_j^T)` with
    :math:`d_j = \mu'_j - s_j`, around the running mean :math:`s` that all of them hold; of a symmetric matrix the upper
    triangle. In float64 the subtraction afterwards is harmless even while the running mean is still zero.

    Args:
        batch: this process's moments.
        running_count: (C,) pixels seen so far, equal on all processes.
        running_mean: (C, A) running mean, equal on all processes.
        kind: see :class:`~mmseg_isda.core.ClassCovariance`.
    """
    count = batch.count.double()
    centre = running_mean.double()
    offset = batch.mean.double() - centre
    parts = [count, (count.unsqueeze(1) * offset).flatten()]
    all_centre = total_mean(running_count, running_mean)
    all_offset = total_mean(batch.count, batch.mean) - all_centre
    if kind == 'diagonal':
        parts.append((count.unsqueeze(1) * (batch.covariance.double() + offset.square())).flatten())
    elif kind == 'shared':
        parts.append(count.sum() * (_triangle(batch.covariance[0]) + _triangle(torch.outer(all_offset, all_offset))))
    elif kind == 'full':
        parts.append(_packed_matrices(batch, count, offset))
    sizes = [part.numel() for part in parts]
    packed = torch.cat(parts)
    dist.all_reduce(packed)
    count, first, *second = packed.split(sizes)
    divisor = count.clamp_min(1).unsqueeze(1)
    offset = first.view_as(offset) / divisor
    mean = torch.where(count.unsqueeze(1) > 0, centre + offset, 0)
    dtype = batch.mean.dtype
    classes, covariance = batch.classes, batch.covariance
    if kind == 'diagonal':
        covariance = (second[0].view_as(offset) / divisor - offset.square()).clamp_min_(0).to(dtype)
    elif kind == 'shared':
        total = count.sum().clamp_min(1)
        all_offset = total_mean(count, mean) - all_centre
        spread = torch.outer(all_offset, all_offset)
        covariance = (_square(second[0] / total, len(all_offset)) - spread).to(dtype).unsqueeze(0)
    elif kind == 'full':
        classes = count.nonzero().squeeze(1)
        covariance = _unpacked_matrices(second[0].view(len(count), -1), classes, count, offset, dtype)
    return ClassMoments(count.long(), mean.to(dtype), covariance, classes)


def pooled_bytes(num_classes: int, num_features: int, kind: str) -> int:
    """What :func:`pool_over_ranks` sends, in bytes."""
    triangle = num_features * (num_features + 1) // 2
    second = {'diagonal': num_classes * num_features, 'full': num_classes * triangle, 'shared': triangle, 'identity': 0}
    return 8 * (num_classes * (1 + num_features) + second[kind])


@lru_cache(maxsize=4)
def _triangle_index(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where the entries of the upper triangle lie in a flat (A A) matrix, and where those of the matrix lie in it."""
    rows, columns = torch.triu_indices(size, size, device=device)
    place = torch.empty(size, size, dtype=torch.int64, device=device)
    place[rows, columns] = place[columns, rows] = torch.arange(len(rows), device=device)
    return rows * size + columns, place.flatten()


def _triangle(matrix: Tensor) -> Tensor:
    """The upper triangle of an (A, A) matrix as a float64 vector."""
    positions, _ = _triangle_index(len(matrix), matrix.device)
    return matrix.flatten().index_select(0, positions).double()


def _square(triangle: Tensor, size: int) -> Tensor:
    """The symmetric (A, A) matrix of an upper triangle."""
    _, places = _triangle_index(size, triangle.device)
    return triangle.index_select(0, places).view(size, size)


def _packed_matrices(batch: ClassMoments, count: Tensor, offset: Tensor) -> Tensor:
    """The second moments of kind full for :func:`pool_over_ranks`: C upper triangles, one after the other."""
    size = batch.mean.shape[1]
    packed = count.new_zeros(len(count), size * (size + 1) // 2)
    for covariance, label in zip(batch.covariance, batch.classes.tolist(), strict=True):
        spread = covariance.double().addr_(offset[label], offset[label])
        packed[label] = _triangle(spread).mul_(count[label])
    return packed.flatten()


def _unpacked_matrices(packed: Tensor, classes: Tensor, count: Tensor, offset: Tensor, dtype: torch.dtype) -> Tensor:
    """(K, A, A) covariances of the classes present on any rank, from the summed triangles."""
    size = offset.shape[1]
    covariance = torch.empty(len(classes), size, size, dtype=dtype, device=packed.device)
    for row, label in enumerate(classes.tolist()):
        matrix = _square(packed[label].div_(count[label]), size)
        covariance[row] = matrix.addr_(offset[label], offset[label], alpha=-1)
    return covariance
