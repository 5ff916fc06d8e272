"""A hook that freezes part of a pretrained network, for any toolkit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import OptionError


@HOOKS.register_module()
class FineTuningHook(Hook):
    """Freeze modules of the model, keep pretrained statistics of batch normalization, choose the memory format.

    Frozen modules get no gradient, so that what lies below them costs no backward pass. For one process: DDP wants
    ``requires_grad`` set before it wraps a model.

    Args:
        frozen: names of modules, such as ``'backbone.timm_model.conv_stem'``.
        norm_eval: names of modules whose batch normalization uses its running statistics in training too.
        channels_last: convert the model to ``torch.channels_last``, which most CPUs compute faster.

    Raises:
        OptionError: if the model has no such module.
    """

    def __init__(
        self, *, frozen: Sequence[str] = (), norm_eval: Sequence[str] = (), channels_last: bool = False
    ) -> None:
        self.frozen, self.norm_eval, self.channels_last = tuple(frozen), tuple(norm_eval), channels_last
        self._norms: list[nn.Module] = []

    def before_train(self, runner) -> None:
        """Freeze the modules; a checkpoint has been loaded by now."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for module in _modules(model, self.frozen):
            module.requires_grad_(False)
        below = [module for root in _modules(model, self.norm_eval) for module in root.modules()]
        self._norms = [module for module in below if isinstance(module, _BatchNorm)]
        if self.channels_last:
            model.to(memory_format=torch.channels_last)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Undo what ``model.train()`` did to the normalization, after each validation too."""
        for norm in self._norms:
            norm.eval()


def _modules(model: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    modules = dict(model.named_modules())
    missing = [name for name in names if name not in modules]
    if missing:
        children = ', '.join(name for name, _ in model.named_children())
        raise OptionError(f'FineTuningHook: the model has no module {missing[0]!r}; at its top it has {children}')
    return [modules[name] for name in names]
