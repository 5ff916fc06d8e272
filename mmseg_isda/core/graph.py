"""Reads from the autograd graph what was done to the output of a classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.autograd.graph import Node

if TYPE_CHECKING:
    from .tap import ClassifierPass

# Between a classifier and its loss stand a type conversion and an up-sampling, seldom more.
NODES_TO_SEARCH = 32
VIEWS = (
    'ToCopyBackward0',
    'ViewBackward0',
    'UnsafeViewBackward0',
    'SqueezeBackward0',
    'SqueezeBackward1',
    'SqueezeBackward2',
    'ReshapeAliasBackward0',
    'AliasBackward0',
    'CloneBackward0',
)
PERMUTATIONS = ('PermuteBackward0', 'TransposeBackward0')


def upsampling_of(logits: Tensor, source: ClassifierPass) -> bool | None:
    """Return ``align_corners`` of the bilinear up-sampling, or None if more was done to a pass's output."""
    node = _without_views(logits.grad_fn)
    if node is None or node.name() != 'UpsampleBilinear2DBackward0':
        return None
    before = node.next_functions[0][0]
    is_direct = source.node in (before, _without_views(before), _without_views(before, _allowed(source)))
    return bool(node._saved_align_corners) if is_direct else None  # type: ignore[attr-defined]


def map_size(logits: Tensor, source: ClassifierPass) -> tuple[int, ...]:
    """Return the size of the map of features, (h, w), also where the classifier was given tokens, (N, h w, A).

    Raises:
        ValueError: if (N, C, H, W) logits do not tell the grid of the tokens.
    """
    if len(source.size) != 1:
        return source.size
    sizes = [tuple(logits.shape[2:])]
    node = logits.grad_fn
    while node is not None and len(sizes) < NODES_TO_SEARCH:
        if node.name() == 'UpsampleBilinear2DBackward0':
            sizes.append(tuple(node._saved_self_sym_sizes[2:]))  # type: ignore[attr-defined]
        node = node.next_functions[0][0] if node.next_functions else None
    for size in sizes:
        if size[0] * size[1] == source.size[0]:
            return size
    raise ValueError(
        f'the classifier was given {source.size[0]} tokens, whose grid the up-sampled logits '
        f'{tuple(logits.shape)} do not tell: give the classifier a map (N, H, W, A), or up-sample bilinearly'
    )


def check_unchanged(logits: Tensor, source: ClassifierPass, name: str) -> None:
    """Raise if more was done to a classifier's output than to up-sample it: its shift would be that of other logits.

    Raises:
        RuntimeError: naming the operation and the classifier, ``name``.
    """
    allowed = _allowed(source)
    made_by = _without_views(logits.grad_fn, allowed)
    while made_by is not None and made_by.name().startswith('Upsample'):
        made_by = _without_views(made_by.next_functions[0][0], allowed)
    is_opaque = any(opaque in made_by.name() for opaque in ('Compiled', 'DDPSink'))
    if made_by is not _without_views(source.node, allowed) and not is_opaque:
        raise RuntimeError(
            f'the logits given to the loss are not what {name} makes, but {made_by.name()} of it: ISDA needs logits '
            f'that are one linear layer of the features'
        )


def _allowed(source: ClassifierPass) -> tuple[str, ...]:
    """Operations that bring the output of a linear layer, whose channels are last, to the front."""
    return () if 'Convolution' in source.node.name() else PERMUTATIONS


def _without_views(node: Node | None, also: tuple[str, ...] = ()) -> Node | None:
    """Return the operation before any that change the type or the shape and no value, or are named in ``also``."""
    while node is not None and node.name() in (*VIEWS, *also):
        node = node.next_functions[0][0]
    return node
