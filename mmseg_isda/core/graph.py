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
    'AliasBackward0',
    'CloneBackward0',
)
PERMUTATIONS = ('PermuteBackward0', 'TransposeBackward0')


def upsampling_of(logits: Tensor, source: ClassifierPass) -> bool | None:
    """Return ``align_corners`` of the bilinear up-sampling, if that is all that was done to a classifier's output.

    Asked of the autograd graph, at no cost; None if something else was done.

    Args:
        logits: (N, C, H, W), what a loss was given.
        source: the pass that they come from.
    """
    node = without_views(logits.grad_fn)
    if node is None or node.name() != 'UpsampleBilinear2DBackward0':
        return None
    before = node.next_functions[0][0]
    is_direct = source.node in (before, without_views(before), without_views(before, _allowed(source)))
    return bool(node._saved_align_corners) if is_direct else None  # type: ignore[attr-defined]


def map_size(logits: Tensor, source: ClassifierPass) -> tuple[int, ...]:
    """Return the size of the map of features, (h, w), also where the classifier was given tokens, (N, h w, A).

    Args:
        logits: (N, C, H, W), what a loss was given.
        source: the pass that they come from.

    Raises:
        ValueError: if the grid of the tokens cannot be told.
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

    Args:
        logits: what a loss was given.
        source: the pass that they come from.
        name: of the classifier.

    Raises:
        RuntimeError: naming the operation.
    """
    allowed = _allowed(source)
    made_by = _before_upsampling(logits.grad_fn, allowed)
    is_opaque = any(opaque in made_by.name() for opaque in ('Compiled', 'DDPSink'))
    if made_by is not without_views(source.node, allowed) and not is_opaque:
        raise RuntimeError(
            f'the logits given to the loss are not what {name} makes, but {made_by.name()} of it: ISDA needs logits '
            f'that are one linear layer of the features'
        )


def _before_upsampling(node: Node | None, allowed: tuple[str, ...]) -> Node:
    node = without_views(node, allowed)
    while node is not None and node.name().startswith('Upsample'):
        node = without_views(node.next_functions[0][0], allowed)
    return node


def _allowed(source: ClassifierPass) -> tuple[str, ...]:
    """Operations that bring the output of a linear layer, whose channels are last, to the front."""
    return () if 'Convolution' in source.node.name() else PERMUTATIONS


def without_views(node: Node | None, also: tuple[str, ...] = ()) -> Node | None:
    """Return the operation before any that change the type or the shape and no value.

    Args:
        node: where to start.
        also: names of further operations to skip.
    """
    while node is not None and node.name() in (*VIEWS, *also):
        node = node.next_functions[0][0]
    return node
