"""The teacher of Mean Teacher: an average of the student over training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.hooks import EMAHook
from mmengine.registry import HOOKS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...core.checks import check_choice

PREDICTORS = ('teacher', 'student')


@HOOKS.register_module()
class MeanTeacherHook(EMAHook):
    """EMAHook whose averaged model is the teacher that the model asks for targets.

    After each iteration ``teacher = (1 - momentum) * teacher + momentum * student``, with at least 1/t at step t, so
    that the random weights of the start do not linger. Running statistics of batch norm are averaged too; buffers of
    integers are copied. Validation, testing and the ``state_dict`` of checkpoints use the teacher.

    Args:
        momentum: share of the student, 1 - decay.
        warmup_momentum: in place of ``momentum`` in the first iterations.
        warmup_iters: how many these are.
        predict_on: ``'teacher'`` or ``'student'``, what is validated, tested and saved as ``state_dict``.
        **kwargs: of ``EMAHook``.

    Raises:
        ValueError: if an option is out of range.
    """

    def __init__(
        self,
        momentum: float = 0.001,
        *,
        warmup_momentum: float | None = None,
        warmup_iters: int = 0,
        predict_on: str = 'teacher',
        **kwargs,
    ) -> None:
        for name, value in (('momentum', momentum), ('warmup_momentum', warmup_momentum)):
            if value is not None and not 0 < value < 1:
                raise ValueError(f'{name} must be between 0 and 1 (it is 1 - decay), got {value}')
        check_choice('predict_on', predict_on, PREDICTORS)
        super().__init__('MomentumAnnealingEMA', momentum=momentum, gamma=1, update_buffers=True, **kwargs)
        self.momentum, self.predict_on = momentum, predict_on
        self.warmup_momentum, self.warmup_iters = warmup_momentum or momentum, warmup_iters

    def before_run(self, runner) -> None:
        """Make the teacher and hand it to the model, if that takes one."""
        super().before_run(runner)
        if hasattr(self.src_model, 'attach_teacher'):
            self.src_model.attach_teacher(self.ema_model.module)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Set the momentum of the iteration."""
        self.ema_model.momentum = self.warmup_momentum if runner.iter < self.warmup_iters else self.momentum

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Update the teacher."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        for mine, students in zip(self.ema_model.module.buffers(), self.src_model.buffers(), strict=True):
            if not mine.is_floating_point():
                mine.copy_(students)

    def _swap_ema_parameters(self) -> None:
        if self.predict_on == 'teacher':
            super()._swap_ema_parameters()

    def _swap_ema_state_dict(self, checkpoint: dict) -> None:
        if self.predict_on == 'teacher':
            super()._swap_ema_state_dict(checkpoint)


@contextmanager
def batch_statistics_only(model: nn.Module) -> Iterator[None]:
    """Normalize by the batch's statistics in the block, and leave the running ones, and norms in evaluation, alone."""
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
