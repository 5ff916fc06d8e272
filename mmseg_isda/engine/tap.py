"""Reads the features that enter a classifier, and its weight."""

from __future__ import annotations

from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn

# Between a classifier and its loss stand a type conversion and an up-sampling, seldom more.
NODES_TO_SEARCH = 32
VIEWS = (
    'ToCopyBackward0',
    'ViewBackward0',
    'UnsafeViewBackward0',
    'SqueezeBackward0',
    'SqueezeBackward1',
    'AliasBackward0',
)


class Tapped(NamedTuple):
    """One forward pass of a classifier.

    Attributes:
        features: (N, A, *spatial), what entered the classifier (after dropout).
        logits: (N, C, *spatial), what left it.
    """

    features: Tensor
    logits: Tensor


class ClassifierTap:
    """Keeps what passes through a 1x1 convolution or a linear layer in training, until every loss has taken it.

    In evaluation it keeps nothing. A deep copy of the network (as EMAHook makes) carries a tap of its own.

    Args:
        classifier: ``nn.Linear``, or a convolution with a kernel of one pixel and one group.
        name: how messages call it.

    Raises:
        TypeError: if it is another kind of module.
        ValueError: if it has a single output, which leaves no wrong class to shift.
    """

    def __init__(self, classifier: nn.Module, name: str) -> None:
        if not is_classifier(classifier):
            raise TypeError(
                f'{name} must be a linear layer or a 1x1 convolution with one group, whose weight ISDA reads, '
                f'got {classifier!r}. Name the right module by the option classifier=... of the loss.'
            )
        if len(classifier.weight) < 2:
            raise ValueError(
                f'{name} has a single output channel (binary segmentation with a sigmoid): ISDA needs the softmax over '
                f'two or more classes. Set out_channels=2, num_classes=2 and use_sigmoid=False.'
            )
        self.classifier = classifier
        self.name = name
        self.num_consumers = 0
        self.version = 0
        self._left_to_take = 0
        self._tapped: Tapped | None = None
        classifier.register_forward_hook(self._keep)

    @property
    def weight(self) -> Tensor:
        """(C, A) weight with its graph."""
        return self.classifier.weight.flatten(1)

    @torch.compiler.disable
    def _keep(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not module.training:
            return
        self._tapped = Tapped(inputs[0], output)
        self._left_to_take = self.num_consumers
        self.version += 1

    def take(self) -> Tapped | None:
        """What passed last, or None. The last of the ``num_consumers`` losses to ask leaves nothing behind."""
        tapped = self._tapped
        self._left_to_take -= 1
        if self._left_to_take <= 0:
            self._tapped = None
        return tapped

    def drop(self) -> None:
        """Lets go of what no loss has taken, e.g. of a pass that gradient checkpointing repeated."""
        self._tapped = None

    def __deepcopy__(self, memo: dict) -> ClassifierTap:
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        # The tensors of a pass belong to a graph: they cannot be copied, and a copy has no use for them.
        new.__dict__.update(self.__dict__, _tapped=None, _left_to_take=0)
        new.classifier = deepcopy(self.classifier, memo)
        return new

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_tapped': None, '_left_to_take': 0}


def leads_to(logits: Tensor, source: torch.autograd.graph.Node | None) -> bool:
    """Whether logits were made from the output of a classifier, by a few operations such as an up-sampling.

    Args:
        logits: what a loss was given.
        source: the ``grad_fn`` of what left the classifier.

    Returns:
        True also where the graph cannot tell: without gradients, or behind a compiled function.
    """
    if source is None or logits.grad_fn is None:
        return True
    nodes = [logits.grad_fn]
    for node in nodes:
        if node is source or 'Compiled' in node.name():
            return True
        if len(nodes) < NODES_TO_SEARCH:
            nodes.extend(parent for parent, _ in node.next_functions if parent is not None)
    return False


def without_views(node: torch.autograd.graph.Node | None) -> torch.autograd.graph.Node | None:
    """The operation before any that change the type or the shape and no value."""
    while node is not None and node.name() in VIEWS:
        node = node.next_functions[0][0]
    return node


def is_classifier(module: object) -> bool:
    """Whether a module's output at a position is one matrix times its input there."""
    if isinstance(module, nn.Linear):
        return True
    convolution = isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    return convolution and module.groups == 1 and set(module.kernel_size) == {1} and set(module.stride) == {1}
