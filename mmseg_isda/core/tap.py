"""Read the features that enter a classifier, and its weight."""

from __future__ import annotations

from collections import deque
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import dataclass
from typing import TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .graph import NODES_TO_SEARCH

PASSES_TO_KEEP = 8
ROWS_TO_VERIFY = 64
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
Classifier: TypeAlias = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


@dataclass(eq=False)
class ClassifierPass:
    """One forward pass of a classifier.

    Attributes:
        features: (N, A, *spatial), what entered the classifier (after dropout); None once every loss has taken it.
        logits: (N, C, *spatial), what left it; None once every loss has taken it.
        weight: (C, A), with its graph, that this pass used; ``torch.func.functional_call`` and weight norms change it.
        node: the autograd node that made the logits.
        number: counts the passes of a tap.
        size: the spatial size, () for vectors.
        version: of the features, which counts the changes in place.
    """

    features: Tensor | None
    logits: Tensor | None
    weight: Tensor
    node: torch.autograd.graph.Node
    number: int

    def __post_init__(self) -> None:
        self.size, self.num_taken = tuple(self.features.shape[2:]), 0
        self.version = _version(self.features)


class ClassifierTap:
    """Keep the passes of a classifier in training until every loss has taken its own.

    Nothing is kept in evaluation or under ``no_grad``. A deep copy of the network (as EMAHook makes one) carries a tap
    of its own.

    Args:
        classifier: ``nn.Linear`` (channels last: vectors, tokens or maps), or a convolution with a kernel of one pixel.
        name: how messages call it.

    Raises:
        TypeError: if it is another kind of module, or its weight is sharded over processes.
        ValueError: if it has a single output, which leaves no wrong class to shift.
    """

    def __init__(self, classifier: nn.Module, name: str = 'classifier') -> None:
        _check_classifier(classifier, name)
        self.classifier, self.name = cast(Classifier, classifier), name
        self.num_consumers = 0
        self._passes: deque[ClassifierPass] = deque(maxlen=PASSES_TO_KEEP)
        self._num_passes = 0
        self._last_taken = 0
        classifier.register_forward_hook(self._keep, with_kwargs=True)
        self._cache: AbstractContextManager | None = None
        if parametrize.is_parametrized(classifier, 'weight'):
            classifier.register_forward_pre_hook(self._cache_weight)
            classifier.register_forward_hook(self._end_cache, always_call=True)

    @property
    def weight(self) -> Tensor:
        """(C, A) weight with its graph."""
        return self.classifier.weight.flatten(1)

    @torch.compiler.disable
    def _keep(self, module: Classifier, inputs: tuple[Tensor, ...], named: dict[str, Tensor], output: Tensor) -> None:
        if not module.training or not torch.is_grad_enabled() or output.grad_fn is None:
            return
        while self._passes and self._passes[0].number <= self._last_taken:
            self._passes.popleft()
        self._num_passes += 1
        features, logits = inputs[0] if inputs else named['input'], output
        # A low-rank adapter begins at zero, so once is not enough; each time would wait for the device too often.
        if self._num_passes.bit_count() == 1 and not self._is_plain():
            _verify(module, features, output, self.name)
        if isinstance(module, nn.Linear):
            features, logits = (x.movedim(-1, 1) if x.dim() > 2 else x for x in (features, logits))
        kept = ClassifierPass(features, logits, module.weight.flatten(1), output.grad_fn, self._num_passes)
        self._passes.append(kept)

    def _cache_weight(self, module: Classifier, inputs: tuple[Tensor, ...]) -> None:
        """Have :meth:`_keep` see the weight of this pass: read once more, a random parametrization makes another."""
        self._cache = parametrize.cached()
        self._cache.__enter__()

    def _end_cache(self, *unused: object) -> None:
        if self._cache is not None:
            self._cache.__exit__(None, None, None)
        self._cache = None

    def _is_plain(self) -> bool:
        """Whether the output is that of the base class: no other ``forward``, no hook that ran before."""
        layer = self.classifier
        base = next(kind for kind in (nn.Linear, *CONVOLUTIONS) if isinstance(layer, kind))
        is_first = next(iter(layer._forward_hooks.values())) == self._keep
        return is_first and type(layer).forward is base.forward and 'forward' not in vars(layer)

    def find(self, logits: Tensor) -> ClassifierPass:
        """Return the pass that the logits of a loss come from, found in their autograd graph.

        Raises:
            RuntimeError: if they have no graph, come from another module, the pass cannot be told, its features were
                changed in place, or an activation checkpoint repeats the loss.
            TypeError: if the weight has been sharded over processes since.
            ValueError: if the classifier has another number of outputs.
        """
        outputs = getattr(self.classifier, 'out_features', None) or self.classifier.out_channels
        if logits.shape[1] != outputs:
            raise ValueError(
                f'the logits have {logits.shape[1]} classes, but {self.name} has {outputs} outputs: name the layer '
                f'that makes the logits by classifier=... of the loss'
            )
        if logits.grad_fn is None:
            raise RuntimeError(
                f'the logits have no gradient (made under no_grad, detached, or by a re-entrant activation '
                f'checkpoint), so ISDA would train {self.name} alone: compute them with gradients, and checkpoint with '
                f'use_reentrant=False'
            )
        if torch._C._current_graph_task_id() != -1:
            raise RuntimeError(
                'the loss runs within a backward pass, as an activation checkpoint around it does, so that the '
                'statistics would take the batch twice: take the loss outside of the checkpoint'
            )
        found = self._search(logits)
        _check_whole(found.weight, self.name)
        if found.features is not None and found.version != _version(found.features):
            raise RuntimeError(
                f'the features that {self.name} was given have been changed in place since (as nn.ReLU(inplace=True) '
                f'of another branch does), so ISDA would take the covariance of others: leave out inplace=True there, '
                f'or give {self.name} a clone'
            )
        return found

    def _search(self, logits: Tensor) -> ClassifierPass:
        by_node = {kept.node: kept for kept in self._passes}
        nodes, is_opaque = [logits.grad_fn], False
        for node in nodes:
            if node in by_node:
                return by_node[node]
            is_opaque = is_opaque or 'Compiled' in node.name()
            if len(nodes) < NODES_TO_SEARCH:
                nodes.extend(parent for parent, _ in node.next_functions if parent is not None)
        if is_opaque and len(self._passes) == 1:  # A compiled function hides what it holds.
            return self._passes[0]
        raise RuntimeError(self._why_not_found(is_opaque))

    def _why_not_found(self, is_opaque: bool) -> str:
        if not self.classifier.training:
            return (
                f'{self.name} is in eval mode, so its features were not kept. To freeze it, leave it in training mode '
                f'and call requires_grad_(False) on its parameters'
            )
        if not self._passes:
            return (
                f'{self.name} has not run in training mode with gradients before the loss was called. Name the module '
                f'that makes the logits by classifier=... of the loss; an activation checkpoint around it needs '
                f'use_reentrant=False'
            )
        if is_opaque:
            return (
                f'{self.name} has run {len(self._passes)} times since the last loss, and the compiled function that '
                f'made the logits does not tell which run they come from: take each loss before the next pass'
            )
        return (
            f'the logits do not come from {self.name}, whose features and weight ISDA uses. Name the module that makes '
            f'them by classifier=... of the loss. A head with several classifiers needs a loss for each. (Or they are '
            f'older than the last {PASSES_TO_KEEP} passes, or than one whose loss was taken: take losses in order)'
        )

    def take(self, taken: ClassifierPass) -> None:
        """Count a loss that is done with a pass; after the last of ``num_consumers`` its tensors are let go."""
        taken.num_taken += 1
        self._last_taken = max(self._last_taken, taken.number)
        if taken.num_taken >= self.num_consumers:
            taken.features = taken.logits = None

    def drop(self) -> None:
        """Let go of all passes, e.g. of one that gradient checkpointing repeated."""
        self._passes.clear()

    def __deepcopy__(self, memo: dict) -> ClassifierTap:
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        # The tensors of a pass belong to a graph: they cannot be copied, and a copy has no use for them.
        new.__dict__.update(self.__getstate__())
        new.classifier = deepcopy(self.classifier, memo)
        return new

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_passes': deque(maxlen=PASSES_TO_KEEP), '_cache': None}


def is_classifier(module: object) -> bool:
    """Whether a module's output at a position is one matrix times its input there."""
    if not isinstance(module, CONVOLUTIONS):
        return isinstance(module, nn.Linear)
    is_unpadded = module.padding in ('same', 'valid') or set(module.padding) <= {0}
    return module.groups == 1 and {*module.kernel_size, *module.stride} == {1} and is_unpadded


def _check_classifier(classifier: nn.Module, name: str) -> None:
    if not is_classifier(classifier):
        raise TypeError(
            f'{name} must be a linear layer or a 1x1 convolution with one group, stride 1 and no padding, got '
            f'{classifier!r}: ISDA needs logits that depend on one feature vector each. Give the head a 1x1 '
            f'classifier, or name the right module by classifier=... of the loss'
        )
    weight = cast(Tensor, classifier.weight)
    _check_whole(weight, name)
    if len(weight) < 2:
        raise ValueError(
            f'{name} has a single output channel (binary segmentation with a sigmoid): ISDA needs the softmax over '
            f'two or more classes. Set out_channels=2, num_classes=2 and use_sigmoid=False'
        )


def _check_whole(weight: Tensor, name: str) -> None:
    """Raise TypeError if a weight is a part of the layer's, or its memory was freed, as sharding does it."""
    is_part = weight.dim() < 2 or hasattr(weight, 'full_tensor') or hasattr(weight, 'ds_id')
    if is_part or (weight.numel() and not weight.untyped_storage().size()):
        raise TypeError(
            f'the weight of {name} is sharded over processes (FSDP, DeepSpeed ZeRO-3), which ISDA does not support: '
            f'use DistributedDataParallel, or keep {name} out of the sharding'
        )


def _version(tensor: Tensor) -> int:
    """Return how often a tensor was changed in place; those of inference mode do not count it."""
    return 0 if tensor.is_inference() else tensor._version


@torch.no_grad()
def _verify(module: Classifier, features: Tensor, output: Tensor, name: str) -> None:
    """Raise TypeError if a subclass, a hook or an adapter does more than the layer, such as normalize its weight."""
    if not isinstance(module, nn.Linear):
        features, output = features.movedim(1, -1), output.movedim(1, -1)
    rows = features.reshape(-1, features.shape[-1])[:ROWS_TO_VERIFY].double()
    bias = None if module.bias is None else module.bias.double()
    expected = F.linear(rows, module.weight.flatten(1).double(), bias)
    seen = output.reshape(-1, output.shape[-1])[:ROWS_TO_VERIFY].double()
    tolerance = 0.02 if output.dtype in (torch.float16, torch.bfloat16) else 5e-3  # TF32 among them
    scale = expected.abs().amax().clamp_min(1e-12)
    if expected.isfinite().all() and (seen - expected).abs().amax() > tolerance * scale:
        raise TypeError(
            f'{name} is a {type(module).__name__}, which does more than multiply by its weight (normalizes it, has an '
            f'adapter or a hook): the shift that ISDA takes from that weight would be wrong. Use a plain linear layer '
            f'or 1x1 convolution'
        )
