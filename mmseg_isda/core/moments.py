"""Count, mean and covariance of each class in one batch, and their exact pooling over processes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from . import devices
from .precision import full_precision

# Small enough for a processor's cache, large enough that the launches of an accelerator do not count.
CHUNK_ELEMENTS = {'cpu': 1 << 20, 'other': 1 << 26}
PIXELS_PER_PRODUCT = 4096
FEWEST_IN_A_BLOCK, MOST_IN_A_BLOCK = 8, 256
BYTES_OF_PRODUCTS = 1 << 24


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
            covariance = mean.new_zeros(len(classes), len(mean), len(mean))
            scale = count.clamp_min(1).reciprocal().to(dtype)
            add_scatter(covariance, maps, labels, classes, _spread(mean, classes, num_classes), scale, ignore_index)
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
    if devices.waits(labels.device):
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


def add_scatter(
    matrices: Tensor | Sequence[Tensor],
    features: Tensor,
    labels: Tensor,
    classes: Tensor,
    mean: Tensor,
    scale: Tensor,
    ignore_index: int,
    keep: Tensor | None = None,
) -> None:
    """Add the outer products of each class's pixels around its mean to its matrix, in place, without waiting.

    Args:
        matrices: (K, A, A), or K views of (A, A); on an accelerator the tensor of all classes.
        classes: (K,) ascending, those of the matrices.
        mean: (C, A).
        scale: (K,) factor of the sum of each class.
        keep: scalar bool; nothing is added where it is False.
    """
    maps, labels = _as_maps(features, labels)
    if isinstance(matrices, Tensor) and devices.waits(maps.device):
        _add_blocks(matrices, maps, class_blocks(labels.flatten(), len(mean), ignore_index), mean, scale, keep)
    elif keep is None or keep:
        _add_class_by_class(matrices, maps, labels, classes, mean, scale)


def _add_class_by_class(
    matrices: Tensor | Sequence[Tensor], maps: Tensor, labels: Tensor, classes: Tensor, mean: Tensor, scale: Tensor
) -> None:
    """:func:`add_scatter` where the host knows how many pixels a class has: one product per class and image."""
    for image, image_labels in zip(maps, labels, strict=True):
        order = image_labels.argsort(stable=True)
        bounds = torch.searchsorted(image_labels[order].long(), torch.stack([classes, classes + 1])).tolist()
        for matrix, center, factor, first, end in zip(matrices, mean[classes], scale.tolist(), *bounds, strict=True):
            for pixels in order[first:end].split(PIXELS_PER_PRODUCT) if end > first else ():
                centred = image.index_select(1, pixels).to(mean.dtype).sub_(center.unsqueeze(1))
                matrix.addmm_(centred, centred.t(), alpha=factor)


class ClassBlocks(NamedTuple):
    """Pixels in B blocks of one class each, Q places a block."""

    pixel: Tensor  # (B, Q) which pixel a place holds
    valid: Tensor  # (B, Q) places that are used
    owner: Tensor  # (B,) class of each block


def class_blocks(labels: Tensor, num_classes: int, ignore_index: int) -> ClassBlocks:
    """Lay pixels out in blocks, whose number does not depend on the (P,) labels: a class of n has ceil(n / Q).

    Those are P / Q + C together at most, and no more than P.
    """
    pixels = len(labels)
    size = min(MOST_IN_A_BLOCK, max(FEWEST_IN_A_BLOCK, pixels // num_classes))
    labels = labels.long().masked_fill(labels == ignore_index, num_classes)
    order = labels.argsort(stable=True)
    count = labels.new_zeros(num_classes + 1).index_add_(0, labels, torch.ones_like(labels))[:num_classes]
    blocks = (count + size - 1) // size
    number = torch.arange(min(pixels, -(-pixels // size) + num_classes), device=labels.device)
    owner = torch.searchsorted(blocks.cumsum(0), number, right=True).clamp_(max=num_classes - 1)
    # Of each place: how many pixels of its class come before it.
    before = (number - (blocks.cumsum(0) - blocks)[owner]).unsqueeze(1) * size
    before = before + torch.arange(size, device=labels.device)
    valid = before < count[owner].unsqueeze(1)
    first = (count.cumsum(0) - count)[owner].unsqueeze(1)
    return ClassBlocks(order[(first + before).masked_fill_(~valid, 0)], valid, owner)


def _add_blocks(
    matrices: Tensor, maps: Tensor, blocks: ClassBlocks, mean: Tensor, scale: Tensor, keep: Tensor | None
) -> None:
    """:func:`add_scatter` for matrices of all classes: products of some blocks at a time."""
    pixels = maps.transpose(1, 2)
    at_a_time = max(1, BYTES_OF_PRODUCTS // (matrices[0].numel() * matrices.element_size()))
    for pixel, valid, owner in zip(*(part.split(at_a_time) for part in blocks), strict=True):
        centred = pixels[pixel // pixels.shape[1], pixel % pixels.shape[1]].to(mean.dtype)
        used = valid if keep is None else valid & keep
        centred = torch.where(used.unsqueeze(2), centred - mean[owner].unsqueeze(1), 0)
        products = torch.bmm(centred.mT, centred).flatten(1)
        # Blocks of a class are added up before, so that no two sums meet in a matrix: deterministic.
        same = owner.unsqueeze(1) == owner
        is_first = ~same.tril(-1).any(1, keepdim=True)
        matrices.flatten(1).index_add_(0, owner, (same & is_first) * scale[owner].to(mean.dtype) @ products)


def _total_covariance(maps: Tensor, valid: Tensor, centre: Tensor, count: Tensor) -> Tensor:
    """(1, A, A) covariance of all labeled pixels around their common mean."""
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
        classes = batch.classes if devices.waits(count.device) else count.nonzero().squeeze(1)
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


def names_of(classes: Tensor, num_classes: int) -> Sequence[int]:
    """Return the classes as numbers; where they are all, as on an accelerator, without looking at them."""
    return range(num_classes) if len(classes) == num_classes else classes.tolist()


def _packed_matrices(batch: ClassMoments, count: Tensor, offset: Tensor) -> Tensor:
    """The second moments of kind full for :func:`pool_over_ranks`: C upper triangles, one after the other."""
    size = batch.mean.shape[1]
    packed = count.new_zeros(len(count), size * (size + 1) // 2)
    for covariance, label in zip(batch.covariance, names_of(batch.classes, len(count)), strict=True):
        spread = covariance.double().addr_(offset[label], offset[label])
        packed[label] = _triangle(spread).mul_(count[label])
    return packed.flatten()


def _unpacked_matrices(packed: Tensor, classes: Tensor, count: Tensor, offset: Tensor, dtype: torch.dtype) -> Tensor:
    """(K, A, A) covariances of the classes present on any rank, from the summed triangles."""
    size = offset.shape[1]
    covariance = torch.empty(len(classes), size, size, dtype=dtype, device=packed.device)
    for row, label in enumerate(names_of(classes, len(count))):
        matrix = _square(packed[label].div_(count[label].clamp_min(1)), size)
        covariance[row] = matrix.addr_(offset[label], offset[label], alpha=-1)
    return covariance
