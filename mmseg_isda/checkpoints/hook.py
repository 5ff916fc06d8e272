"""The hook that keeps the checkpoints of a training: none is lost to a write, and none is taken that does not fit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import BaseOptimWrapper
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..errors import CheckpointError
from .fit import Fit, watch_fit
from .reading import state_dict_of
from .statistics import check_statistics


class CheckpointGuard(Hook):
    """Have ``CheckpointHook`` remove the old file after it has written the new one, and check what a model starts from.

    It follows every set of weights that is loaded before training (``init_cfg``, ``pretrained``, ``load_from``): those
    that fit nothing, or have inner layers of another shape, are refused; a partial fit is logged in one line.
    """

    priority = 'LOWEST'  # after CheckpointHook, and after EMAHook has copied the model

    def __init__(self) -> None:
        self._handles: list[RemovableHandle] = []
        self._savers: list[CheckpointHook] = []

    def before_run(self, runner) -> None:
        """Begin to watch what the model loads; testing is left alone."""
        if not isinstance(runner.optim_wrapper, BaseOptimWrapper):
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for path, module in model.named_modules():
            if '.' not in path or any(_pretrained_in(module)):
                self._handles += watch_fit(module, _teller(runner, path, module))

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Raise CheckpointError for incomplete statistics."""
        source = str(runner.cfg.get('load_from') or 'the checkpoint')
        check_statistics(state_dict_of(checkpoint, source), source)

    def before_train(self, runner) -> None:
        """Have old checkpoints removed later."""
        while self._handles:
            self._handles.pop().remove()
        self._savers = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
        for hook in self._savers:
            if (hook.file_client_args or {}).get('backend') == 'disk':  # the deprecated name of the local backend
                hook.file_client_args, hook.backend_args = None, None
            hook.file_backend = RemovesLater(hook.file_backend)

    def after_train_iter(self, runner, *args: Any, **kwargs: Any) -> None:
        """Remove the checkpoints, the best ones too, that new ones have replaced."""
        for hook in self._savers:
            best = getattr(hook, 'best_ckpt_path_dict', {}).values()
            hook.file_backend.remove_now({hook.last_ckpt, getattr(hook, 'best_ckpt_path', None), *best})

    after_train_epoch = after_val_epoch = after_train_iter


class RemovesLater:
    """A storage backend of the host whose removals wait until they are asked for."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._waiting: list[tuple[str, Any]] = []  # name of the method, path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: Any) -> None:
        self._waiting.append(('remove', path))

    def rmtree(self, path: Any) -> None:
        self._waiting.append(('rmtree', path))

    def remove_now(self, without: Collection) -> None:
        """Remove what is waiting, but for paths that have been written again since."""
        for how, path in self._waiting:
            if path not in without and self._backend.exists(path):
                getattr(self._backend, how)(path)
        self._waiting = []


def _pretrained_in(module: nn.Module) -> Iterator[str]:
    """Yield the checkpoints that ``init_cfg`` of a module names."""
    settings = getattr(module, 'init_cfg', None) or []
    for item in settings if isinstance(settings, (list, tuple)) else [settings]:
        if isinstance(item, dict) and 'checkpoint' in item:
            yield str(item['checkpoint'])


def _teller(runner: Any, path: str, module: nn.Module) -> Callable[[Fit], None]:
    """Return what refuses or logs each set of weights that a module at a path loads."""
    start = runner.cfg.get('load_from')
    # A model that has both takes its own weights before those that the config starts from.
    sources = [*_pretrained_in(module), *([str(start)] if start and not path else [])]
    resumes = bool(runner.cfg.get('resume'))

    def tell(fit: Fit) -> None:
        source = sources.pop(0) if sources else 'a checkpoint'
        place = path or type(module).__name__
        if fit.is_chance:
            raise CheckpointError(f'{source} is of another network than {place}: {fit}')
        if fit.inner_misfits(path) or (resumes and not path and not sources and (fit.missed or fit.misshapen)):
            raise CheckpointError(f'{source} does not fit {place}: {fit}')
        if not fit.is_exact:
            runner.logger.warning(f'{source} fits {place} in part: {fit}')

    return tell
