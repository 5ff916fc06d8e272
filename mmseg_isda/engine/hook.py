"""The hook that makes an ISDA loss work in any MMEngine runner."""

from __future__ import annotations

import math
from typing import cast

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import BaseOptimWrapper
from mmengine.registry import HOOKS
from torch import Tensor, nn

from .binding import TappedLoss, bind_isda_losses, tapped_losses
from .loss import ISDALossBase
from .schedule import strength_at

SKIPPED = (
    'features were not finite or too large. The statistics leave such batches out. In mixed precision a few overflows '
    'are normal'
)


@HOOKS.register_module()
class ISDAHook(Hook):
    """Bind every ISDA loss of the model to its classifier, set lambda, and log both lambda and its effect.

    Written to the message hub each iteration, for the log line, TensorBoard and W&B: for each loss
    ``<owner>.isda_lambda``; ``<owner>.isda_shift``, the mean shift of the wrong classes' logits over its pixels; and
    ``<owner>.isda_margin``, the mean of the label's plain logit less the largest other one.

    It comes before EMAHook, which copies the model, and before checkpoints are loaded: the statistics exist by then.
    A loss that comes in during training (MMPretrain's SwitchRecipeHook) is bound before its first iteration.
    """

    priority = 'HIGH'

    def __init__(self) -> None:
        self._losses: dict[str, TappedLoss] = {}
        self._plain: list[TappedLoss] = []
        self._reported: set[tuple[str, str]] = set()
        self._left_over: dict[str, Tensor] = {}

    def before_run(self, runner) -> None:
        """Bind the losses. In testing there is nothing to bind.

        Raises:
            ValueError: if a loss's classifier cannot be found, or is not one.
        """
        if not isinstance(runner.optim_wrapper, BaseOptimWrapper):
            return
        model = _unwrapped(runner.model)
        if any(True for _ in tapped_losses(model)):
            self._bind(runner, model)
        else:
            runner.logger.info('ISDAHook found no ISDA loss in the model: training goes on without ISDA.')

    def _bind(self, runner, model: nn.Module) -> None:
        known = set(map(id, self._losses.values()))
        self._losses = bind_isda_losses(model)
        paths = {id(loss): path for path, loss in tapped_losses(model)}
        self._plain = [loss for _, loss in tapped_losses(model) if not loss.needs_tap]
        for owner, loss in self._losses.items():
            if id(loss) in known:
                continue
            settings = ''
            if isinstance(loss, ISDALossBase):
                settings = f', {loss.statistics}, lambda_0={loss.lambda_0}'
                prefix = f'{paths[id(loss)]}.statistics.'
                found = {key[len(prefix) :]: value for key, value in self._left_over.items() if key.startswith(prefix)}
                if found:
                    loss.statistics.load_state_dict(found)
            runner.logger.info(f'ISDA: {type(loss).__name__} of {owner} is bound to {loss.tap.name}{settings}')

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keep the statistics of losses that will come in later, e.g. by a switch of the recipe."""
        model = _unwrapped(runner.model)
        own = model.state_dict().keys()
        state = checkpoint.get('state_dict', checkpoint)
        self._left_over = {key: value for key, value in state.items() if '.statistics.' in key and key not in own}

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Bind what has come in since, and set lambda of the iteration."""
        model = _unwrapped(runner.model)
        if any(loss.tap is None and loss.needs_tap for _, loss in tapped_losses(model)):
            self._bind(runner, model)
        progress = dict(iteration=runner.iter, max_iters=runner.max_iters)
        progress |= dict(epoch=runner.epoch, max_epochs=runner.max_epochs)
        for loss in self._losses.values():
            if isinstance(loss, ISDALossBase):
                loss.strength = strength_at(loss.lambda_0, loss.schedule, **progress)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Log lambda and the size of the augmentation; report what went wrong, once a loss.

        Raises:
            ValueError: if a label was out of range.
        """
        for loss in self._plain:
            loss.check_iteration()
        for owner, loss in self._losses.items():
            seen = loss.check_iteration()
            if seen.get('eval'):
                self._warn(runner, owner, 'eval', 'the loss is in eval mode, so that this is plain cross entropy')
            if 'shift' not in seen:
                continue
            for what in ('lambda', 'shift', 'margin'):
                runner.message_hub.update_scalar(f'train/{owner}.isda_{what}', seen[what])
            if seen['skipped']:
                self._warn(runner, owner, 'skipped', SKIPPED)
            if not math.isfinite(seen['shift']):
                self._warn(runner, owner, 'shift', 'the shift of the logits is not finite: training diverges')

    def _warn(self, runner, owner: str, kind: str, text: str) -> None:
        if (owner, kind) not in self._reported:
            self._reported.add((owner, kind))
            runner.logger.warning(f'ISDA: {owner}, iteration {runner.iter + 1}: {text}. This is reported once.')


def _unwrapped(model: nn.Module) -> nn.Module:
    return cast(nn.Module, model.module) if is_model_wrapper(model) else model
