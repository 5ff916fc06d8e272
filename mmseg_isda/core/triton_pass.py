"""The pass of :mod:`~mmseg_isda.core.fused` as Triton kernels. Experimental: not yet run on a GPU.

It was developed on Triton's interpreter and compiled ahead of time for compute capability 9.0, no more.

Where the banded pass goes through bands of rows, here a program takes the output pixels between four neighbouring
low-resolution ones (a cell, or a tile of it), from whose logits they are all mixed. It finds the softmax of each,
mixes the logits a second time, and stores what its pixels add to the gradients at the four corners; another kernel
adds up the four or more tiles around each low-resolution pixel. The other way, a program per low-resolution pixel that
gathers all output pixels that it touches, needs no such partial sums, but works each output pixel out four times. That
is the worse bargain: the work is bound by arithmetic, while the partial sums of 8-fold up-sampling come to a sixteenth
of the up-sampled logits. Images are taken in groups that bound even that.

The gradient of a shift at the labels takes all pixels in the order of their labels, cut into chunks of one size: a
program sums the rows of its chunk, label by label, and another kernel the chunks of a label.

Each sum has one order, and nothing is added atomically: the same input gives the same bits.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .bands import LOG2_E, Settings, Wanted
from .labels import check_labels, resize_labels
from .precision import full_precision

MAX_TILE = 8  # Pixels of a tile along an axis: an up-sampling by 8 is the most common one.
CLASS_BLOCK = 8  # Classes that a program looks at together; few, as lanes beyond the last class idle.
CHUNK = 1024  # Sorted pixels of a program
WIDE_CLASS_BLOCK, PIXEL_BLOCK = 64, 8  # What it looks at together.
CHUNK_BLOCK = 16  # The same where chunks are added up.
MAX_PIXELS = 2**31 - 1  # of a group where pixels are numbered in 32 bits


def triton_available(device: torch.device | None = None) -> bool:
    """Whether :func:`triton_pass` can run.

    Args:
        device: of the tensors. A CUDA device needs Triton alone, the CPU also TRITON_INTERPRET=1 in the environment
            before Triton is first imported, and is then very slow: it is there for tests. By default the GPU if there
            is one.
    """
    if find_spec('triton') is None:
        return False
    kind = ('cuda' if torch.cuda.is_available() else 'cpu') if device is None else device.type
    return kind == 'cuda' or (kind == 'cpu' and _is_interpreted())


def triton_pass(
    logits: Tensor,
    labels: Tensor,
    shift: Tensor | None,
    weight: Tensor | None,
    class_weight: Tensor | None,
    settings: Settings,
    wanted: Wanted,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The loss, the hits, and the gradients with respect to logits and shift (empty if not wanted).

    Args:
        logits: (N, C, h, w) float16, bfloat16 or float32; all arithmetic is in float32.
        labels: (N, H, W) integers. On a GPU one that is out of range counts as ignored.
        shift: (C, C) or None.
        weight: (N, H, W) or None.
        class_weight: (C,) or None.
        settings: how the pass is made; ``band_bytes`` bounds the partial sums that are kept at a time.
        wanted: what is needed.

    Returns:
        float32: the sum of the losses, or (N, H, W) of them; the number of pixels whose label has the largest logit
        without shift; (N, C, h, w) and (C, C) gradients of the sum.

    Raises:
        TypeError: for logits of another type.
        RuntimeError: without Triton, or for tensors on a device that it does not serve.
        ValueError: on the CPU, for a label that is out of range.
    """
    if logits.dtype not in (torch.float16, torch.bfloat16, torch.float32):
        raise TypeError(
            f'the Triton kernels take float16, bfloat16 or float32 logits, got {logits.dtype}: use the banded pass'
        )
    if not triton_available(logits.device):
        raise RuntimeError(
            f'the Triton kernels cannot run on {logits.device} here: they need a CUDA device and the package triton, '
            f'or, on the CPU, TRITON_INTERPRET=1 in the environment before Triton is first imported'
        )
    if logits.device.type == 'cpu':
        check_labels(labels, logits.shape[1], settings.ignore_index)
    with torch.no_grad(), full_precision(logits.device), torch.cuda.device_of(logits):
        done = _TritonPass(logits, labels, shift, weight, class_weight, settings, wanted)
        done.run()
    loss = done.losses if wanted.per_pixel else done.losses.sum(dtype=torch.float64).float()
    return loss, done.hits.sum(dtype=torch.float64).float(), done.logits_grad, done.shift_grad


@lru_cache(maxsize=1)
def _kernels() -> ModuleType:
    # Not before they are needed: Triton is optional, and decides on import whether it compiles or interprets.
    return import_module('.triton_kernels', __package__)


def _is_interpreted() -> bool:
    import triton

    # Both of these functions, of which the second was made when Triton was first imported, perhaps by someone else.
    functions = (_kernels().cross_entropy_of_tiles, triton.language.max)
    return not any(isinstance(function, triton.runtime.JITFunction) for function in functions)


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()


class _Axis(NamedTuple):
    """Interpolation along one axis, of T tiles.

    Output pixel i is mixed from the low-resolution pixels ``cells[i]`` and the one after it.
    """

    cells: Tensor  # (out,) int32
    weights: Tensor  # (out, 2) float32
    tiles: Tensor  # (T, 3) int32: its cell, its first output pixel, and the one after its last
    starts: Tensor  # (in + 1,) int32: the first tile of each cell
    block: int  # the most output pixels of a tile


@lru_cache(maxsize=64)
def _axis(old: int, new: int, align_corners: bool, device: torch.device) -> _Axis:
    # To interpolate an identity takes over the rules at the edges. In float64, as positions are inexact in float32.
    identity = torch.eye(old, dtype=torch.float64)[None]
    matrix = F.interpolate(identity, size=new, mode='linear', align_corners=align_corners)[0].t()
    cells = (matrix != 0).to(torch.uint8).argmax(1)
    weights = F.pad(matrix, (0, 1)).gather(1, torch.stack([cells, cells + 1], 1))
    block = min(MAX_TILE, _power_of_two(-(-new // old)))
    ends = torch.searchsorted(cells, torch.arange(old), right=True).tolist()
    tiles, starts, begin = [], [0], 0
    for cell, end in enumerate(ends):
        tiles += [(cell, first, min(first + block, end)) for first in range(begin, end, block)]
        starts.append(len(tiles))
        begin = end
    small = {'dtype': torch.int32, 'device': device}
    return _Axis(
        cells.to(**small),
        weights.to(device, torch.float32).contiguous(),
        torch.tensor(tiles, **small),
        torch.tensor(starts, **small),
        block,
    )


class _TritonPass:
    """What one pass over all images reads and makes.

    Attributes:
        losses: (N, tiles, tiles) or (N, H, W).
        hits: (N, tiles, tiles), or zero.
        logits_grad: (N, C, h, w) or empty.
        shift_grad: (C, C) or empty.
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
        self.logits, self.labels, self.settings, self.wanted = logits, labels.contiguous(), settings, wanted
        self.weight = None if weight is None else weight.to(torch.float32).contiguous()
        self.class_weight = None if class_weight is None else class_weight.to(torch.float32).contiguous()
        self.num_classes = classes = logits.shape[1]
        self.vertical, self.horizontal = (
            _axis(old, size, settings.align_corners, logits.device)
            for old, size in zip(logits.shape[2:], labels.shape[1:], strict=True)
        )
        self.shift = None if shift is None else shift.to(torch.float32)
        new = {'dtype': torch.float32, 'device': logits.device}
        tiles = (len(labels), len(self.vertical.tiles), len(self.horizontal.tiles))
        self.losses = torch.empty(labels.shape if wanted.per_pixel else tiles, **new)
        self.hits = torch.empty(tiles, **new) if wanted.hits else torch.zeros((), **new)
        self.logits_grad = torch.empty(logits.shape if wanted.logits_grad else (0,), **new)
        self.shift_grad = torch.zeros((classes, classes) if wanted.shift_grad else (0,), **new)

    def run(self) -> None:
        """Goes through the images, as many at a time as keep their partial sums within a band."""
        tiles = len(self.vertical.tiles) * len(self.horizontal.tiles)
        images = self.settings.band_bytes // (16 * tiles * self.num_classes)
        images = max(1, min(images, MAX_PIXELS // (self.labels.shape[1] * self.labels.shape[2])))
        for start in range(0, len(self.logits), images):
            _Group(self, slice(start, start + images)).run()
        if self.wanted.shift_grad and self.settings.at_label:
            # The gradients of a softmax add up to zero.
            self.shift_grad.diagonal().copy_(-self.shift_grad.sum(1))


class _Group:
    """The images of a pass that are worked on together."""

    def __init__(self, owner: _TritonPass, images: slice) -> None:
        self.owner, self.images = owner, images
        self.labels = owner.labels[images]
        self.low_index = self.plain = self.table = None
        # The classes of a pixel side by side, as a program wants them.
        x = owner.logits[images].permute(0, 2, 3, 1)
        x = x.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
        if owner.shift is not None and owner.settings.at_label:
            self.table = owner.shift.sub(owner.shift.amax(1, keepdim=True)).mul_(LOG2_E).contiguous()
        elif owner.shift is not None:
            self.plain = x.clone() if owner.wanted.hits else None
            self.low_index = self._index(resize_labels(self.labels, x.shape[1:3]))
            x += F.embedding(self.low_index, F.pad(owner.shift, (0, 0, 0, 1)))
        # Softmax stays the same, and small exponents are exact ones.
        self.logits = x.sub_(x.amax(3, keepdim=True)).mul_(LOG2_E)

    def _index(self, labels: Tensor) -> Tensor:
        """The labels, with the number of classes where they do not count."""
        classes = self.owner.num_classes
        valid = (labels != self.owner.settings.ignore_index) & (labels >= 0) & (labels < classes)
        return torch.where(valid, labels.long(), classes)

    def run(self) -> None:
        """Launches the kernels, and hands what they make to the pass."""
        owner, wanted = self.owner, self.owner.wanted
        maps = partials = None
        if wanted.shift_grad and self.table is not None:
            maps = self.logits.new_empty(2, *self.labels.shape)
        if wanted.logits_grad or (wanted.shift_grad and self.table is None):
            tiles = (len(owner.vertical.tiles), len(owner.horizontal.tiles))
            partials = self.logits.new_empty(len(self.labels), *tiles, 4, owner.num_classes)
        self._run_tiles(maps, partials)
        grad = None if partials is None else self._add_corners(partials)
        if maps is not None:
            self._add_table_gradient(maps)
        elif wanted.shift_grad and self.low_index is not None:
            one_hot = grad.new_zeros(len(grad), owner.num_classes + 1, self.low_index[0].numel())
            one_hot.scatter_(1, self.low_index.flatten(1).unsqueeze(1), 1)
            owner.shift_grad += torch.bmm(one_hot[:, :-1], grad.flatten(2).transpose(1, 2)).sum(0)

    def _run_tiles(self, maps: Tensor | None, partials: Tensor | None) -> None:
        owner, images, vertical, horizontal = self.owner, self.images, self.owner.vertical, self.owner.horizontal
        losses = owner.losses[images]
        highest, scale = (None, None) if maps is None else maps
        _kernels().cross_entropy_of_tiles[(len(horizontal.tiles), len(vertical.tiles), len(self.labels))](
            self.logits,
            self.plain,
            self.table,
            self.labels,
            None if owner.weight is None else owner.weight[images],
            owner.class_weight,
            vertical.tiles,
            horizontal.tiles,
            vertical.weights,
            horizontal.weights,
            losses if owner.wanted.per_pixel else None,
            None if owner.wanted.per_pixel else losses,
            owner.hits[images] if owner.wanted.hits else None,
            highest,
            scale,
            partials,
            *self.logits.shape[1:3],
            *self.labels.shape[1:],
            owner.num_classes,
            owner.settings.ignore_index,
            BLOCK_Y=vertical.block,
            BLOCK_X=horizontal.block,
            BLOCK_C=min(CLASS_BLOCK, _power_of_two(owner.num_classes)),
            num_warps=1,
        )

    def _add_corners(self, partials: Tensor) -> Tensor:
        """(n, C, h, w) gradient with respect to the logits."""
        owner = self.owner
        height, width = self.logits.shape[1:3]
        if owner.wanted.logits_grad:
            grad = owner.logits_grad[self.images]
        else:
            grad = self.logits.new_empty(len(self.labels), owner.num_classes, height, width)
        _kernels().gradient_from_corners[(width, height, len(self.labels))](
            partials,
            owner.vertical.starts,
            owner.horizontal.starts,
            grad,
            *partials.shape[1:3],
            owner.num_classes,
            BLOCK_C=min(WIDE_CLASS_BLOCK, _power_of_two(owner.num_classes)),
            num_warps=1,
        )
        return grad

    def _add_table_gradient(self, maps: Tensor) -> None:
        """Adds to the gradient of a shift at the labels all but its diagonal."""
        owner, classes = self.owner, self.owner.num_classes
        index = self._index(self.labels).flatten().to(torch.int16 if classes < 1 << 15 else torch.int32)
        index, order = torch.sort(index, stable=True)
        begins = torch.searchsorted(index, torch.arange(classes + 1, dtype=index.dtype, device=index.device))
        chunks = -(-len(index) // CHUNK)
        partials = self.logits.new_empty(chunks + classes, classes)
        block = min(WIDE_CLASS_BLOCK, _power_of_two(classes))
        blocks = -(-classes // block)
        _kernels().table_gradient_of_chunks[(chunks, blocks)](
            self.logits,
            self.table,
            index,
            order,
            begins,
            *maps,
            owner.vertical.cells,
            owner.horizontal.cells,
            owner.vertical.weights,
            owner.horizontal.weights,
            partials,
            *self.logits.shape[1:3],
            *self.labels.shape[1:],
            classes,
            CHUNK=CHUNK,
            BLOCK_P=PIXEL_BLOCK,
            BLOCK_C=block,
            num_warps=1,
        )
        _kernels().table_gradient_from_chunks[(classes, blocks)](
            partials, begins, owner.shift_grad, classes, CHUNK=CHUNK, BLOCK_K=CHUNK_BLOCK, BLOCK_C=block, num_warps=1
        )
