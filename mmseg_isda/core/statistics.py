"""Online class-conditional statistics of deep features, Eqs. 1 to 3 of the paper."""

from __future__ import annotations

import warnings

import torch
import torch.distributed as dist
from torch import Tensor, nn

from . import devices
from .checks import check_choice
from .labels import check_labels, count_labels
from .moments import ClassMoments, add_scatter, class_moments, names_of, pool_over_ranks, pooled_bytes, total_mean
from .pooling import BatchGatherer, is_distributed
from .precision import full_precision
from .shift import logit_shift

KINDS = ('diagonal', 'full', 'shared', 'identity')
CLASSES_PER_PRODUCT = 64
STRIP_HINT = "To use its weights without its ISDA statistics, strip them with 'mmseg-isda publish'."

# The share of a batch in the merged statistics, m / (n + m), and how often its step counts, n m / (n + m)^2.
Gain = tuple[Tensor, Tensor]
# Features, labels and the label to ignore, where the moments of a batch have variances in place of full matrices.
Pixels = tuple[Tensor, Tensor, int]


def _gain(old: Tensor, new: Tensor) -> Gain:
    share = new.double() / (old + new).clamp_min(1)
    return share, share * (1 - share)


class ClassCovariance(nn.Module):
    r"""Count, mean and covariance of the features of each class, over the whole of training.

    With :math:`n_j` pixels of class j seen before and :math:`m_j` in the batch, whose mean and (biased) covariance are
    :math:`\mu'_j` and :math:`\Sigma'_j` (Eqs. 1 to 3):

    .. math::
        \mu_j \leftarrow \frac{n_j \mu_j + m_j \mu'_j}{n_j + m_j}, \qquad
        \Sigma_j \leftarrow \frac{n_j \Sigma_j + m_j \Sigma'_j}{n_j + m_j}
            + \frac{n_j m_j (\mu_j - \mu'_j)(\mu_j - \mu'_j)^T}{(n_j + m_j)^2}, \qquad
        n_j \leftarrow n_j + m_j

    Several processes hold, after each update, exactly the statistics of one process on the joined batch: counts, sums
    and second moments are added up, never means averaged. Vectors (P, A) are sent themselves where those of the first
    batch are fewer bytes than their statistics, as with the batch of a classifier of images.

    Args:
        num_classes: C.
        num_features: A.
        kind: ``'diagonal'``: a variance of each feature, ``covariance`` is (C, A); ``'full'``: (C, A, A);
            ``'shared'``: one matrix (1, A, A) of all features whatever their class, as in Table 8 of the paper;
            ``'identity'``: (1, A) ones, which never change.
        sync: pool over all processes of the default group, where there are several.

    Buffers:
        count: (C,) int64, pixels seen of each class. Over ranks: sum.
        mean: (C, A) float32. Over ranks: weighted by the counts.
        covariance: see ``kind``, float32. Over ranks: weighted by the counts, plus the spread of the ranks' means.
        num_skipped: int64 scalar, batches left out because a feature, or what they would have made of the
            statistics, was not finite or too large to be multiplied in float32. Not saved.

    Raises:
        ValueError: if ``num_classes < 2``, ``num_features < 1`` or ``kind`` is unknown.

    Example:
        >>> statistics = ClassCovariance(num_classes=2, num_features=1)
        >>> _ = statistics.update(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1]))
        >>> statistics.covariance
        tensor([[1.],
                [0.]])
    """

    count: Tensor
    mean: Tensor
    covariance: Tensor
    num_skipped: Tensor

    def __init__(self, num_classes: int, num_features: int, kind: str = 'diagonal', *, sync: bool = True) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(
                f'num_classes must be at least 2 (ISDA shifts the logits of wrong classes), got {num_classes}'
            )
        if num_features < 1:
            raise ValueError(f'num_features must be at least 1, got {num_features}')
        check_choice('kind', kind, KINDS)
        self.num_classes, self.num_features, self.kind, self.sync = num_classes, num_features, kind, sync
        self.register_buffer('count', torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer('mean', torch.zeros(num_classes, num_features))
        shapes = dict(diagonal=(num_classes, num_features), full=(num_classes, num_features, num_features))
        shapes |= dict(identity=(1, num_features), shared=(1, num_features, num_features))
        self.register_buffer('covariance', (torch.ones if kind == 'identity' else torch.zeros)(shapes[kind]))
        self.register_buffer('num_skipped', torch.zeros((), dtype=torch.int64), persistent=False)
        self._gatherer = BatchGatherer()
        self._is_gathering: bool | None = None

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
        """Take a batch into the statistics (Eqs. 1 to 3). No gradient flows.

        A batch with a feature that is NaN or infinite, on any rank, changes nothing but ``num_skipped``; nor does one
        that would make a mean or a variance larger than the square root of the largest number.

        Args:
            features: (P, A), or (N, A, *spatial).
            labels: (P,), or (N, *spatial) integers.
            ignore_index: label of the pixels to leave out.

        Returns:
            (C,) int64: how many pixels of each class this process's batch has.

        Raises:
            ValueError: if the shapes do not fit, or a label is out of range (on the CPU; on an accelerator, where the
                check would have to wait, call :func:`~mmseg_isda.core.mask_invalid_labels` first).
        """
        self._check_batch(features, labels, ignore_index)
        features, counts = features.detach(), None
        pooled = self.sync and is_distributed()
        if pooled and self._gathers(features):
            counts = count_labels(labels, self.num_classes, ignore_index)
            features, labels = self._gatherer(features, labels)
            pooled = False
        # Full matrices of the batch are made only to be pooled: otherwise its pixels go straight into the statistics.
        direct = self.kind == 'full' and not pooled
        kind = 'diagonal' if direct else self.kind
        batch = class_moments(features, labels, self.num_classes, ignore_index, kind, dtype=self.mean.dtype)
        counts = batch.count if counts is None else counts
        if pooled:
            batch = pool_over_ranks(batch, self.count, self.mean, self.kind)
        self._merge(batch, (features, labels, ignore_index) if direct else None)
        return counts

    def _gathers(self, features: Tensor) -> bool:
        """Whether the processes send one another their batch, where it is smaller than its statistics.

        Decided at the first update, by sizes that all of them know.
        """
        if features.dim() > 2:
            return False
        if self._is_gathering is None:
            longest = max(self._gatherer.sizes(len(features), features.float()))
            joined = dist.get_world_size() * longest * (self.num_features + 1) * self.mean.element_size()
            self._is_gathering = joined <= pooled_bytes(self.num_classes, self.num_features, self.kind)
        return self._is_gathering

    def _check_batch(self, features: Tensor, labels: Tensor, ignore_index: int) -> None:
        if features.dim() < 2 or features.shape[1] != self.num_features:
            raise ValueError(
                f'features must have shape (P, {self.num_features}) or (N, {self.num_features}, *spatial), '
                f'got {tuple(features.shape)}'
            )
        expected = (features.shape[0], *features.shape[2:])
        if tuple(labels.shape) != expected:
            raise ValueError(
                f'labels must have shape {expected} for features of shape {tuple(features.shape)}, '
                f'got {tuple(labels.shape)}'
            )
        if labels.is_floating_point():
            raise TypeError(f'labels must be integers, got {labels.dtype}')
        if not devices.waits(labels.device):
            check_labels(labels, self.num_classes, ignore_index)

    def _merge(self, batch: ClassMoments, pixels: Pixels | None = None) -> None:
        """Eqs. 1 to 3 in place, with the weights in float64; nothing if the result would not be sound."""
        sound = self._is_sound(batch)
        self.num_skipped += (~sound).to(torch.int64)
        # Chosen on the device, so that nothing waits: a count of 0 gives the batch no weight.
        count = torch.where(sound, batch.count, 0)
        gain, gain_of_all = _gain(self.count, count), _gain(self.count.sum(), count.sum())
        delta = torch.where(sound, batch.mean - self.mean, 0)
        if self.kind in ('diagonal', 'low_rank'):
            self._mix(gain, torch.where(sound, batch.covariance, 0), delta.square())
        elif self.kind == 'shared':
            shift = total_mean(count, self.mean + delta) - total_mean(self.count, self.mean)
            self._mix(
                gain_of_all, torch.where(sound, batch.covariance, 0), torch.outer(shift, shift)[None].to(delta.dtype)
            )
        elif self.kind == 'full':
            self._mix_matrices(gain, batch._replace(count=count), sound, delta, pixels)
        self.mean += gain[0].unsqueeze(1).to(delta.dtype) * delta
        self.count += count

    def _is_sound(self, batch: ClassMoments) -> Tensor:
        """Scalar bool on the device: the merged means and variances are finite and can be multiplied in float32.

        A covariance is bounded by the variances of its features, and a step between means by its square, so that those
        are all to look at.
        """
        bound = torch.finfo(self.mean.dtype).max ** 0.5
        _, weight = _gain(self.count, batch.count)
        between = weight.unsqueeze(1) * (batch.mean - self.mean).square()
        variance = batch.covariance if batch.covariance.dim() < 3 else batch.covariance.diagonal(dim1=1, dim2=2)
        sizes = [values.abs().amax() for values in (batch.mean, between, variance) if values.numel()]
        is_finite = batch.mean.isfinite().all() & batch.covariance.isfinite().all()
        return is_finite & (torch.stack(sizes) < bound).all()  # False for NaN

    def _mix(self, gain: Gain, batch_covariance: Tensor, between: Tensor) -> None:
        share, weight = (g.to(between.dtype).view(-1, *[1] * (between.dim() - 1)) for g in gain)
        self.covariance += share * (batch_covariance - self.covariance) + weight * between

    def _mix_matrices(
        self, gain: Gain, batch: ClassMoments, sound: Tensor, delta: Tensor, pixels: Pixels | None
    ) -> None:
        """Touch the matrices of the classes looked at, and make no other of their size; a share of 0 changes none."""
        share, step = gain[0].to(delta.dtype), gain[1].unsqueeze(1).to(delta.dtype) * delta
        names = names_of(batch.classes, self.num_classes)
        matrices: Tensor | list[Tensor] = self.covariance
        with full_precision(delta.device):
            if len(names) == self.num_classes:
                self.covariance.mul_((1 - share).view(-1, 1, 1)).baddbmm_(step.unsqueeze(2), delta.unsqueeze(1))
            else:
                matrices = [self.covariance[label] for label in names]
                for matrix, label in zip(matrices, names, strict=True):
                    matrix.mul_(1 - share[label]).addr_(step[label], delta[label])
            if pixels is None:
                for matrix, label, covariance in zip(matrices, names, batch.covariance, strict=True):
                    matrix.addcmul_(torch.where(sound, covariance, 0), share[label])
                return
            features, labels, ignore_index = pixels
            scale = (gain[0] / batch.count.clamp_min(1))[batch.classes]
            add_scatter(matrices, features, labels, batch.classes, batch.mean, scale, ignore_index, sound)

    def shift(self, weight: Tensor, strength: float | Tensor, classes: Tensor | None = None) -> Tensor:
        """Return the shift table of Eq. 7 for these covariances, see :func:`~mmseg_isda.core.logit_shift`.

        Args:
            weight: (C, A) rows of the classifier.
            strength: lambda of this iteration.
            classes: (K,) int64, the labels whose rows are wanted; by default all.

        Returns:
            (K, C) shifts in logits.
        """
        return logit_shift(weight, self.covariance, strength, classes=classes)

    def matrices(self, classes: Tensor | None = None) -> Tensor:
        """Return dense covariances, (K, A, A), of (K,) classes, by default all. For small sizes."""
        rows = self.covariance.expand(self.num_classes, *self.covariance.shape[1:])
        rows = rows if classes is None else rows[classes]
        return torch.diag_embed(rows) if rows.dim() == 2 else rows.clone()

    def gram(self, weight: Tensor, classes: Tensor | None = None) -> Tensor:
        r"""Return :math:`W \Sigma_y W^T` of each class, the products that Eq. 15 is made of.

        Gradients reach ``weight`` and never the covariances. Always float32 or better.

        Args:
            weight: (C, A) rows of the classifier.
            classes: (K,) int64, by default all classes.

        Returns:
            (K, C, C).
        """
        if classes is None:
            classes = torch.arange(self.num_classes, device=weight.device)
        with full_precision(weight.device):
            weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
            weight = weight - weight.mean(0)  # see logit_shift; Q_jj + Q_kk - 2 Q_jk does not change
            parts = [self._gram(weight, part) for part in classes.split(CLASSES_PER_PRODUCT)]
        return torch.cat(parts) if parts else weight.new_zeros(0, len(weight), len(weight))

    def _gram(self, weight: Tensor, classes: Tensor) -> Tensor:
        rows = self.covariance.expand(self.num_classes, *self.covariance.shape[1:])[classes].to(weight.dtype)
        scaled = weight * rows.unsqueeze(1) if rows.dim() == 2 else weight @ rows
        return scaled @ weight.t()

    def _apply(self, fn, recurse: bool = True) -> ClassCovariance:
        """Follow the network to another device, but not to half precision, which would ruin the statistics."""

        def at_least_float32(tensor: Tensor) -> Tensor:
            target = fn(tensor.new_empty(0))
            half = target.is_floating_point() and torch.finfo(target.dtype).bits < 32
            return tensor.to(target.device) if half else fn(tensor)

        return super()._apply(at_least_float32, recurse)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        """Refuse statistics that are incomplete, not finite or of another shape; without any, start from zero."""
        names = list(self.state_dict())
        found = {name: state_dict[prefix + name] for name in names if prefix + name in state_dict}
        for name, tensor in found.items():
            self._check_loaded(name, tensor, prefix + name)
            # ``assign=True`` would keep half precision.
            state_dict[prefix + name] = tensor.to(getattr(self, name).dtype)
        missing = ', '.join(prefix + name for name in names if name not in found)
        if found and missing:
            raise ValueError(
                f'the checkpoint has ISDA statistics but no {missing}: it is damaged, or was trained with another '
                f'covariance than {self.kind!r}. {STRIP_HINT}'
            )
        if not found:
            warnings.warn(
                f'the checkpoint has no ISDA statistics at {prefix[:-1]}: they start from zero. '
                f'This is right when you fine-tune from a plain model, and wrong when you resume.',
                stacklevel=2,
            )
            return
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _check_loaded(self, name: str, tensor: Tensor, key: str) -> None:
        own = getattr(self, name)
        if tensor.shape != own.shape:
            raise ValueError(
                f'the checkpoint has {key} of shape {tuple(tensor.shape)}, but this model needs {tuple(own.shape)} for '
                f'covariance={self.kind!r}, {self.num_classes} classes and {self.num_features} features. {STRIP_HINT}'
            )
        # Matrices pooled over ranks may have variances a rounding below zero.
        never_negative = name == 'count' or (name == 'covariance' and self.kind == 'diagonal')
        if not tensor.isfinite().all() or (never_negative and (tensor < 0).any()):
            raise ValueError(
                f'the checkpoint has {key} with NaN, infinity or a number below zero that cannot be, so it is damaged '
                f'or its training had failed. {STRIP_HINT}'
            )
        if tensor.is_floating_point() != own.is_floating_point():
            raise ValueError(f'the checkpoint has {key} as {tensor.dtype}, not {own.dtype}. {STRIP_HINT}')

    def extra_repr(self) -> str:
        return f'{self.num_classes}, {self.num_features}, kind={self.kind!r}, sync={self.sync}'
