"""What the benchmarks run on: sizes, labels like those of a street scene, and an iteration of MMEngine's runner."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from measure import Call
from torch import Tensor, nn

CLASSES_IN_AN_IMAGE = 16


class Size(NamedTuple):
    """A batch at a classifier: ``images`` feature maps of ``features`` x ``low`` x ``low``, labels ``high`` x ``high``.

    19 classes stand for the paper's Cityscapes crops, 97x97 -> 769x769; more for ADE20K's, 64x64 -> 512x512; fewer for
    a trial of the benchmarks themselves.
    """

    images: int
    classes: int
    features: int = 512

    @property
    def low(self) -> int:
        return 97 if self.classes == 19 else 64 if self.classes > 19 else 9

    @property
    def high(self) -> int:
        return 769 if self.classes == 19 else 512 if self.classes > 19 else 65

    @property
    def align_corners(self) -> bool:
        return self.classes <= 19

    @classmethod
    def parse(cls, text: str) -> Size:
        """Return the size that is written e.g. ``N2C19`` or ``N2C19A2048``."""
        match = re.fullmatch(r'N(\d+)C(\d+)(?:A(\d+))?', text)
        if not match:
            raise ValueError(f'a size reads like N2C19 or N2C19A2048 (images, classes, features), got {text!r}')
        return cls(*(int(part) for part in match.groups() if part))


def street_labels(images: int, classes: int, size: int, device: str) -> Tensor:
    """Return (N, size, size) labels: blocks of one class, 16 classes an image, a tenth of the blocks ignored."""
    maps = []
    for _ in range(images):
        present = torch.randperm(classes)[:CLASSES_IN_AN_IMAGE]
        coarse = present[torch.randint(0, len(present), (1, 1, 24, 24))].float()
        coarse[torch.rand_like(coarse) < 0.1] = ignore_index(classes)
        maps.append(F.interpolate(coarse, size=(size, size))[0, 0].long())
    return torch.stack(maps).to(device)


def ignore_index(classes: int) -> int:
    """Return a label that is no class."""
    return 255 if classes <= 255 else -1


def toolkit_of(case: str) -> ModuleType:
    """Return the module with the heads and networks of a case: that of MMSegmentation or that of MMPretrain."""
    return import_module('segmentation' if re.match(r'N\d|pspnet|deeplabv3', case) else 'classification')


def bind(head: nn.Module, loss: nn.Module) -> None:
    """Bind the loss of a head to its classifier, if it is one that has to be."""
    from mmseg_isda.engine import bind_isda_losses

    if hasattr(loss, 'needs_tap'):
        bind_isda_losses(head)


def touch_buffers(module: nn.Module) -> None:
    """Write to every buffer: pages that were never written to would count as memory of the first step."""
    for buffer in module.buffers():
        buffer += 0


def training_step(model: nn.Module, batch: Callable[[], dict], *, lr: float, with_hook: bool) -> Call:
    """Return a call that does what MMEngine's runner does in an iteration, from the preprocessor to the optimizer.

    Args:
        model: a ``BaseModel`` of MMEngine, in training mode.
        batch: makes what the data loader would hand over.
        lr: learning rate.
        with_hook: call ``ISDAHook`` before and after the iteration.
    """
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.optim import OptimWrapper

    from mmseg_isda.engine import ISDAHook

    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4))
    runner = SimpleNamespace(model=model, iter=500, max_iters=1000, epoch=0, max_epochs=1, optim_wrapper=wrapper)
    runner.message_hub = MessageHub.get_instance('benchmark')
    runner.logger = MMLogger.get_instance('benchmark', log_level='WARNING')
    hook = ISDAHook() if with_hook else None
    if hook:
        hook.before_run(runner)
    touch_buffers(model)

    def call() -> None:
        if hook:
            hook.before_train_iter(runner, 0)
        model.train_step(batch(), wrapper)
        if hook:
            hook.after_train_iter(runner, 0)

    return call
