"""What the paper reports: the mean over the last epochs."""

from __future__ import annotations

import statistics
from typing import Any

from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop

from ..engine.validations import ValidationHistory, is_due, validations

INFO = 'last_epochs_mean'


@HOOKS.register_module()
class LastEpochsMean(ValidationHistory):
    """Report the mean of each metric over the validations of the last epochs, as the paper does for CIFAR.

    It is logged when training ends, written to the visualizer (``scalars.json``, TensorBoard, W&B) as
    ``last_<n>_epochs/<metric>`` and kept in the message hub as ``last_epochs_mean``. A resumed run reports the same.

    Args:
        num_epochs: how many epochs count.

    Raises:
        ValueError: if ``num_epochs < 1``.
    """

    def __init__(self, num_epochs: int = 10) -> None:
        super().__init__()
        if num_epochs < 1:
            raise ValueError(f'num_epochs must be at least 1, got {num_epochs}')
        self.num_epochs = num_epochs

    def before_train(self, runner) -> None:
        """Warn if not all of the last epochs will be validated."""
        loop = runner.train_loop
        if not isinstance(loop, EpochBasedTrainLoop):
            runner.logger.warning(f'LastEpochsMean: {type(loop).__name__} counts no epochs, so there will be no mean.')
            return
        window = range(max(1, loop.max_epochs - self.num_epochs + 1), loop.max_epochs + 1)
        validated = sum(is_due(runner, epoch) for epoch in window)
        if validated < self.num_epochs:
            runner.logger.warning(
                f'LastEpochsMean: {validated} of the last {self.num_epochs} epochs will be validated (max_epochs='
                f'{loop.max_epochs}, val_interval={loop.val_interval}, val_begin={loop.val_begin}); the mean is over '
                f'those.'
            )
        super().before_train(runner)

    def wants(self, runner, step: int) -> bool:
        """Only the last epochs are worth a repeated validation."""
        return step > runner.max_epochs - self.num_epochs

    def after_train(self, runner) -> None:
        """Report the means."""
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return
        kept = {step: m for step, m in validations(runner).items() if step > runner.epoch - self.num_epochs}
        means = last_means(kept)
        if not means:
            runner.logger.warning('LastEpochsMean: there was no validation in the last epochs, so there is no mean.')
            return
        runner.message_hub.update_info(INFO, dict(epochs=sorted(kept), **means))
        scalars = {f'last_{self.num_epochs}_epochs/{key}': mean for key, mean in means['mean'].items()}
        runner.visualizer.add_scalars(scalars, step=runner.epoch)
        parts = [f'{key} {mean:.4f} (std {means["std"][key]:.4f})' for key, mean in means['mean'].items()]
        runner.logger.info(f'Mean of {len(kept)} epochs ({min(kept)} to {max(kept)}): {", ".join(parts)}')


def last_means(kept: dict[int, dict[str, float]]) -> dict[str, Any]:
    """Return mean and population standard deviation of each metric that all epochs have; empty without epochs."""
    if not kept:
        return {}
    first, *rest = kept.values()
    names = [name for name in first if all(name in metrics for metrics in rest)]
    values = {name: [metrics[name] for metrics in kept.values()] for name in names}
    return dict(
        mean={name: statistics.fmean(series) for name, series in values.items()},
        std={name: statistics.pstdev(series) for name, series in values.items()},
    )
