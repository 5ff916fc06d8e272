"""The hook that makes an ISDA loss work in any MMEngine runner."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import BaseOptimWrapper
from mmengine.registry import HOOKS
from torch import nn

from .loss import ISDALossBase
from .schedule import strength_at
from .tap import ClassifierTap, is_classifier


@HOOKS.register_module()
class ISDAHook(Hook):
    """Ties every ISDA loss of the model to its classifier, sets lambda, and logs both lambda and its effect.

    Written to the message hub each iteration, for the log line, TensorBoard and W&B: for each loss
    ``<owner>.isda_lambda`` and ``<owner>.isda_shift``, the mean shift of the wrong classes' logits over its pixels.

    It comes before EMAHook, which copies the model, and before checkpoints are loaded: the statistics exist by then.
    """

    priority = 'HIGH'

    def __init__(self) -> None:
        self._losses: dict[str, ISDALossBase] = {}
        self._unbound: list[ISDALossBase] = []
        self._reported: set[str] = set()

    def before_run(self, runner) -> None:
        """Ties the losses to their classifiers. In testing there is nothing to tie.

        Raises:
            ValueError: if a loss's classifier cannot be found, or is not one.
        """
        if not isinstance(runner.optim_wrapper, BaseOptimWrapper):
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._losses = bind_isda_losses(model)
        losses = [module for module in model.modules() if isinstance(module, ISDALossBase)]
        self._unbound = [loss for loss in losses if not loss.is_bound]
        if not losses:
            runner.logger.warning('ISDAHook found no ISDA loss in the model: training goes on without ISDA.')
        for owner, loss in self._losses.items():
            statistics = f', {loss.covariance}, lambda_0={loss.lambda_0}' if loss.augments else ''
            runner.logger.info(f'ISDA: {type(loss).__name__} of {owner} is tied to {loss.tap.name}{statistics}')

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Sets lambda of the iteration."""
        for loss in self._losses.values():
            loss.strength = strength_at(
                loss.lambda_0,
                loss.schedule,
                iteration=runner.iter,
                max_iters=runner.max_iters,
                epoch=runner.epoch,
                max_epochs=runner.max_epochs,
            )

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Logs lambda and the size of the augmentation; reports features that were not finite, once a loss.

        Raises:
            ValueError: if a label was out of range.
        """
        for loss in self._unbound:
            loss.check_iteration()
        for owner, loss in self._losses.items():
            seen = loss.check_iteration()
            if not seen:
                continue
            runner.message_hub.update_scalar(f'train/{owner}.isda_lambda', seen['lambda'])
            runner.message_hub.update_scalar(f'train/{owner}.isda_shift', seen['shift'])
            if seen['skipped'] and owner not in self._reported:
                self._reported.add(owner)
                runner.logger.warning(
                    f'ISDA: the features of {owner} were not finite at iteration {runner.iter + 1}. Its statistics '
                    f'leave such batches out. In mixed precision a few overflows are normal; this is reported once.'
                )


def bind_isda_losses(model: nn.Module) -> dict[str, ISDALossBase]:
    """Ties every ISDA loss within a model to the classifier of the nearest module above it that has one.

    ``ISDAHook`` calls it; call it yourself to use a loss without a Runner. Calling it again changes nothing.

    Args:
        model: any module that contains losses.

    Returns:
        The losses by the name of their owner, or by their own where an owner has several. An ISDA loss with
        ``lambda_0=0`` needs nothing and is left out.

    Raises:
        ValueError: if no module above a loss has its classifier.
        TypeError: if that is neither a linear layer nor a 1x1 convolution.
    """
    modules = dict(model.named_modules())
    taps = {
        id(loss.tap.classifier): loss.tap
        for loss in modules.values()
        if isinstance(loss, ISDALossBase) and loss.is_bound
    }
    bound: dict[str, ISDALossBase] = {}
    for path, loss in modules.items():
        if not isinstance(loss, ISDALossBase) or not loss.needs_tap:
            continue
        owner_path, classifier = _find_classifier(modules, path, loss.classifier)
        name = f'{owner_path}.{loss.classifier}'.lstrip('.')
        tap = taps.get(id(classifier)) or ClassifierTap(classifier, name)
        taps[id(classifier)] = tap
        loss.bind(tap, modules[owner_path])
        owner = owner_path or type(model).__name__
        bound[owner if owner not in bound else path] = loss
    return bound


def _find_classifier(modules: dict[str, nn.Module], path: str, classifier: str) -> tuple[str, nn.Module]:
    """Climbs from a loss towards the model until a module has the classifier."""
    owner = path
    while owner:
        owner = owner.rpartition('.')[0]
        found = modules.get(f'{owner}.{classifier}'.lstrip('.'))
        if found is not None:
            return owner, found
    parent = path.partition('.')[0]
    candidates = [name for name, module in modules.items() if name.startswith(parent) and is_classifier(module)]
    raise ValueError(
        f'no module above the loss {path!r} has a classifier named {classifier!r}. Set classifier=... of the loss '
        f'to the linear layer or 1x1 convolution that makes the logits; such layers are: '
        f'{", ".join(candidates) or "none"}.'
    )
