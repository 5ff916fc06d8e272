"""The metrics of every validation of a run, so that none is lost when training is resumed."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping
from numbers import Real
from typing import Any

from mmengine.hooks import Hook
from mmengine.optim import BaseOptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop

from ..errors import OptionError

# Not to begin with "val": the log line of a validation prints all such entries.
INFO = 'history_of_validations'


@HOOKS.register_module()
class ValidationHistory(Hook):
    """Keep the metrics of each validation in the message hub, which is saved with every checkpoint.

    MMEngine writes a checkpoint *before* the validation that follows, so that a run resumed from it would lack that
    one. It is made up for before training goes on.

    Args:
        needs: name of a metric without which the run would be of no use.
    """

    # After CheckpointHook, which is not ready for a validation before its own ``before_train``.
    priority = 'LOWEST'

    def __init__(self, needs: str | None = None) -> None:
        self.needs = needs

    def before_train(self, runner) -> None:
        """Repeat the validation of the checkpoint that training was resumed from, if it is wanted and not there."""
        step = current_step(runner)
        if is_due(runner, step) and self.wants(runner, step) and step not in validations(runner):
            runner.logger.info(f'The checkpoint of step {step} was written before its validation, which follows now.')
            runner.val_loop.run()

    def wants(self, runner, step: int) -> bool:
        """Whether the validation after ``step`` matters."""
        return True

    def after_val_epoch(self, runner, metrics: Mapping[str, Any] | None = None) -> None:
        """Keep the metrics that are numbers.

        Raises:
            OptionError: if the metric that is needed is not among them.
        """
        if not isinstance(runner.optim_wrapper, BaseOptimWrapper):  # a validation outside training
            return
        numbers = {key: float(value) for key, value in (metrics or {}).items() if isinstance(value, Real)}
        if self.needs is not None and self.needs not in numbers:
            names = ', '.join(numbers) or 'none'
            raise OptionError(f'there is no metric {self.needs!r}; the metrics of this validation are: {names}')
        runner.message_hub.update_info(INFO, {**validations(runner), current_step(runner): numbers})


def validations(runner) -> dict[int, dict[str, float]]:
    """Return the metrics of the validations so far, by the epoch (in training by iterations: the iteration) before."""
    kept = runner.message_hub.runtime_info.get(INFO, {})
    return {step: metrics for step, metrics in kept.items() if step <= current_step(runner)}


def current_step(runner) -> int:
    """Return the epochs that are over; in iteration-based training, iterations."""
    return runner.epoch if isinstance(runner.train_loop, EpochBasedTrainLoop) else runner.iter


def is_due(runner, step: int) -> bool:
    """Whether the loop validates after ``step``."""
    loop = runner.train_loop
    if runner.val_loop is None or step < max(1, loop.val_begin):
        return False
    last = loop.max_epochs if isinstance(loop, EpochBasedTrainLoop) else loop.max_iters
    interval = loop.dynamic_intervals[bisect(loop.dynamic_milestones, step + 1) - 1]
    return step % interval == 0 or step == last
