"""ISDA as one object in any PyTorch program."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from . import devices
from .checks import check_class_weight, check_lambda, check_loss
from .consistency import isda_consistency
from .cross_entropy import isda_cross_entropy, mean_shift
from .fused import upsampled_cross_entropy
from .graph import check_unchanged, map_size, upsampling_of
from .labels import check_labels, count_labels, resize_labels
from .low_rank import new_statistics
from .shift import shift_of_vectors, shift_table
from .tap import ClassifierPass, ClassifierTap


class ISDACriterion(nn.Module):
    r"""Cross entropy that augments deep features implicitly (Eq. 7 of the paper), in plain PyTorch.

    Takes the place of ``torch.nn.CrossEntropyLoss``, whose conventions it keeps: the mean over what is not ignored,
    ``ignore_index=-100``. It reads what enters the classifier by a forward hook of its own, keeps its statistics as
    buffers, so that ``state_dict()`` resumes exactly, and pools them across the ranks of the default process group. In
    evaluation and under ``no_grad`` it is plain cross entropy.

    Args:
        classifier: the layer that makes the logits: ``nn.Linear``, also on channels-last maps and tokens, or a 1x1
            convolution. The criterion does not own it: its parameters stay the network's.
        lambda_0: final strength of the augmentation; 0 is plain cross entropy.
        covariance: ``'diagonal'``, ``'full'``, ``'low_rank'``, ``'shared'`` or ``'identity'``, see
            :func:`~mmseg_isda.core.new_statistics`.
        rank: directions that ``'low_rank'`` keeps of each class.
        augment_at: ``'feature'``: the shift is added at the size of the features and up-sampled with the logits, as the
            authors' program does; ``'label'``: each labeled pixel is shifted by its own label.
        weight: (C,) weights of the classes.
        ignore_index: label without loss, which enters no statistics.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        label_smoothing: share of the uniform target; beyond the paper.
        align_corners: of the bilinear up-sampling, where the criterion does it: up-sampled logits tell theirs.
        sync: pool the statistics across ranks.

    Raises:
        TypeError: if the classifier is neither a linear layer nor a 1x1 convolution.
        ValueError: if an option is out of range.

    Example:
        >>> network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> criterion = ISDACriterion(network[2], lambda_0=0.5, covariance='full')
        >>> logits = network(torch.randn(6, 4))
        >>> loss = criterion(logits, torch.tensor([0, 1, 2, 0, 1, 2]), progress=0.1)
        >>> loss.backward()
    """

    weight: Tensor | None

    def __init__(
        self,
        classifier: nn.Module,
        lambda_0: float,
        *,
        covariance: str = 'diagonal',
        rank: int = 16,
        augment_at: str = 'feature',
        weight: Tensor | Sequence[float] | None = None,
        ignore_index: int = -100,
        reduction: str = 'mean',
        label_smoothing: float = 0.0,
        align_corners: bool = False,
        sync: bool = True,
    ) -> None:
        super().__init__()
        check_lambda(lambda_0)
        check_loss(augment_at=augment_at, reduction=reduction, label_smoothing=label_smoothing)
        self.tap = ClassifierTap(classifier)
        self.tap.num_consumers = 1
        num_classes, num_features = self.tap.weight.shape
        check_class_weight('weight', weight)
        if weight is not None and not isinstance(weight, Tensor):
            weight = torch.tensor(weight, dtype=torch.float32)
        if weight is not None and tuple(weight.shape) != (num_classes,):
            raise ValueError(f'weight must have shape ({num_classes},), one a class, got {tuple(weight.shape)}')
        self.register_buffer('weight', weight)
        self.statistics = new_statistics(covariance, num_classes, num_features, rank=rank, sync=sync)
        self.statistics.to(self.tap.weight.device)
        self.lambda_0, self.augment_at, self.align_corners = lambda_0, augment_at, align_corners
        self.ignore_index, self.reduction, self.label_smoothing = ignore_index, reduction, label_smoothing
        self.mean_shift: Tensor | None = None
        self._updated_by = 0

    @torch.compiler.disable
    def forward(self, logits: Tensor, labels: Tensor, *, progress: float | None = None) -> Tensor:
        r"""Return the loss; in training also update the statistics (Eqs. 1 to 3).

        Args:
            logits: (N, C), or (N, C, *spatial) at the size of the labels or, for maps, as they leave the classifier:
                those are up-sampled bilinearly.
            labels: (N,) or (N, *spatial) integers.
            progress: share of training that is over, (step + 1) / steps, so that :math:`\lambda = \lambda_0 \cdot`
                progress. Required in training.

        Returns:
            A scalar, or the shape of ``labels`` for the reduction ``'none'``. The mean shift of the wrong classes'
            logits is kept in ``mean_shift``.

        Raises:
            RuntimeError: if the logits do not come from the classifier's passes in training mode, or have no gradient.
            ValueError: if ``progress`` is missing or out of range, shapes do not fit, or a label is out of range.
        """
        self._check_call(logits, labels)
        labels = labels.long()
        strength = self._strength(logits, progress)
        if strength is None:
            if torch.is_grad_enabled():
                self.tap.drop()  # No later loss takes these features.
            return self._cross_entropy(logits, labels)
        source = self.tap.find(logits)
        check_unchanged(logits, source, self.tap.name)
        self.statistics.to(logits.device)
        loss = self._of_vectors if logits.dim() == 2 else self._of_maps
        value = loss(logits, labels, source, strength)
        self.tap.take(source)
        return value

    def consistency(
        self, logits: Tensor, targets: Tensor, *, progress: float | None = None, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Return the term of unlabeled samples (Eq. 15), see :func:`~mmseg_isda.core.isda_consistency`.

        The statistics are those of the labeled batches so far; this call does not change them. In evaluation it is the
        plain cross entropy with soft targets.

        Args:
            logits: (N, C) or (N, C, *spatial), as they leave the classifier.
            targets: probabilities of the same shape, e.g. ``logits.softmax(1)``; no gradient flows to them.
            progress: as in :meth:`forward`.
            sample_weight: (N,) or (N, *spatial), e.g. a confidence mask.

        Raises:
            ValueError: if ``progress`` is missing or out of range, or shapes do not fit.
        """
        strength = self._strength(logits, progress) or 0.0
        self.statistics.to(logits.device)
        inputs = (logits, targets, self.tap.weight, self.statistics, strength)
        return isda_consistency(*inputs, sample_weight=sample_weight, reduction=self.reduction)

    def _check_call(self, logits: Tensor, labels: Tensor) -> None:
        if labels.is_floating_point() or labels.shape == logits.shape:
            raise TypeError(
                f'labels must be classes, integers of shape (N,) or (N, *spatial), got {tuple(labels.shape)}, '
                f'{labels.dtype}: soft targets have no class to take a covariance from'
            )
        expected = (logits.shape[0], *logits.shape[2:])
        resized = logits.dim() == 4 and labels.dim() == 3 and len(labels) == len(logits)
        if logits.dim() < 2 or (tuple(labels.shape) != expected and not resized):
            raise ValueError(
                f'logits must have shape (N, C) or (N, C, *spatial) and labels (N,) or (N, *spatial), got '
                f'{tuple(logits.shape)} and {tuple(labels.shape)}'
            )
        if not devices.waits(labels.device):
            check_labels(labels, logits.shape[1], self.ignore_index)

    def _strength(self, logits: Tensor, progress: float | None) -> float | None:
        """Lambda of this call; None where there is no augmentation."""
        if self.lambda_0 == 0 or not torch.is_grad_enabled():
            return None
        if not self.training:
            if logits.requires_grad:
                warnings.warn(
                    'ISDACriterion is in eval mode, so this is plain cross entropy: call criterion.train() to train',
                    stacklevel=3,
                )
            return None
        if not isinstance(progress, Real) or not 0 <= progress <= 1:
            raise ValueError(
                f'progress must be the share of training that is over, (step + 1) / steps, in [0, 1], got {progress!r}'
            )
        return self.lambda_0 * progress

    def _cross_entropy(
        self,
        logits: Tensor,
        labels: Tensor,
        shift: Tensor | None = None,
        source: ClassifierPass | None = None,
        size: tuple[int, ...] | None = None,
    ) -> Tensor:
        options: dict[str, Any] = dict(
            class_weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            avg_non_ignore=True,
            augment_at=self.augment_at,
            label_smoothing=self.label_smoothing,
        )
        if logits.dim() != 4:
            return isda_cross_entropy(logits, labels, shift, **options)
        seen = None if source is None else upsampling_of(logits, source)
        options |= dict(align_corners=self.align_corners if seen is None else seen)
        return upsampled_cross_entropy(logits, labels, shift, source, feature_size=size, **options)

    def _update(self, source: ClassifierPass, labels: Tensor) -> Tensor:
        """Take a pass into the statistics, once, and return (C,) the count of the labels."""
        if source.number == self._updated_by:  # e.g. Mixup, which takes a second loss with other labels
            return count_labels(labels, self.statistics.num_classes, self.ignore_index)
        features = source.features.flatten(1) if labels.dim() == 1 else source.features
        self._updated_by = source.number
        return self.statistics.update(features, labels, self.ignore_index)

    def _of_vectors(self, logits: Tensor, labels: Tensor, source: ClassifierPass, strength: float) -> Tensor:
        if source.size and math.prod(source.size) > 1:
            raise ValueError(
                f'{self.tap.name} was given maps or tokens of size {source.size}, but the loss vectors of shape '
                f'{tuple(logits.shape)}: pass logits (N, C, *spatial) and labels (N, *spatial)'
            )
        self._update(source, labels)
        added = shift_of_vectors(self.statistics, source.weight, strength, labels, self.ignore_index)
        num_valid = (labels != self.ignore_index).sum()
        self.mean_shift = added.detach().sum() / ((logits.shape[1] - 1) * num_valid).clamp_min(1)
        return self._cross_entropy(logits + added, labels)

    def _of_maps(self, logits: Tensor, labels: Tensor, source: ClassifierPass, strength: float) -> Tensor:
        size = map_size(logits, source) if logits.dim() == 4 else source.size
        small = resize_labels(labels, size) if logits.dim() == 4 else labels
        count = self._update(source, small if len(size) == len(source.size) else small.flatten(1))
        # Labels of small things may be lost at the size of the features.
        looked_up = dict(labels=labels) if self.augment_at == 'label' else dict(count=count)
        shift = shift_table(self.statistics, source.weight, strength, **looked_up)
        self.mean_shift = mean_shift(shift, count)
        return self._cross_entropy(logits, labels, shift, source, size)

    def extra_repr(self) -> str:
        return f'classifier={self.tap.classifier}, lambda_0={self.lambda_0}, augment_at={self.augment_at!r}'
