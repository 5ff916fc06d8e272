"""Up-sampling, shift and cross entropy in one pass, whose gradient is ready when the forward pass ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checks import check_loss
from ..cross_entropy import EPS, default_avg_factor, isda_cross_entropy
from ..precision import full_precision
from .bands import BandedPass, Settings, Wanted, compute_dtype

CPU_BAND_BYTES = 2 << 20  # A band stays in the cache.
ACCELERATOR_BAND_BYTES = 64 << 20  # Each launch has enough to do.


def fused_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    shift: Tensor | None = None,
    *,
    align_corners: bool,
    augment_at: str = 'feature',
    weight: Tensor | None = None,
    class_weight: Tensor | Sequence[float] | None = None,
    ignore_index: int = 255,
    reduction: str = 'mean',
    avg_factor: float | Tensor | None = None,
    avg_non_ignore: bool = False,
    label_smoothing: float = 0.0,
    return_accuracy: bool = False,
    band_bytes: int | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Cross entropy of bilinearly up-sampled, shifted logits that makes no tensor of N x C x H x W (Eq. 7).

    .. math::
        \ell_p = -\log \mathrm{softmax}(z_p)_{y_p}, \qquad
        z = \mathrm{up}(\mathrm{logits} + \mathrm{shift}_{\mathrm{nearest}(y)}) \ \text{('feature')}, \quad
        z = \mathrm{up}(\mathrm{logits}) + \mathrm{shift}_y \ \text{('label')}

    Value and gradients equal those of up-sampling the logits and calling
    :func:`~mmseg_isda.core.isda_cross_entropy`, computed in float32 (float64 for float64 logits) under autocast too.
    Gradients reach ``logits`` and ``shift``; second derivatives (``create_graph=True``) are taken the plain way, at its
    cost.

    Args:
        logits: (N, C, h, w) float16, bfloat16, float32 or float64, plain (not shifted), as they leave the classifier.
        labels: (N, H, W) integers; (H, W) is the size to up-sample to.
        shift: (C, C) from :func:`~mmseg_isda.core.logit_shift`, or None.
        align_corners: of the bilinear up-sampling.
        augment_at, weight, class_weight, ignore_index, reduction, avg_factor, avg_non_ignore, label_smoothing: as in
            :func:`~mmseg_isda.core.isda_cross_entropy`; the weights are constants.
        return_accuracy: return the top-1 accuracy too, in per cent of the pixels that are not ignored, of the
            up-sampled logits *without* shift (a tie for the first place is a hit). It is cheap except with a shift
            at ``'feature'``, where the plain logits are up-sampled once more for it.
        band_bytes: memory of one band; by default what suits the device.

    Returns:
        A scalar, or (N, H, W) for ``reduction='none'``, in float32 or float64; with ``return_accuracy`` the pair of
        that and a scalar.

    Raises:
        TypeError: for a tensor of the wrong data type.
        ValueError: for an unknown option, shapes or devices that do not fit, a label that is out of range (on the
            CPU), or an ``avg_factor`` with ``reduction='sum'``.

    Example:
        >>> logits = torch.zeros(2, 4, 8, 8, requires_grad=True)
        >>> labels = torch.zeros(2, 64, 64, dtype=torch.long)
        >>> round(fused_cross_entropy(logits, labels, align_corners=False).item(), 4)
        1.3863
    """
    _check_tensors(logits, labels, shift, weight)
    check_loss(augment_at=augment_at, reduction=reduction, avg_factor=avg_factor, label_smoothing=label_smoothing)
    if band_bytes is not None and band_bytes < 1:
        raise ValueError(f'band_bytes must be at least 1, got {band_bytes}')
    labels = labels.long()
    class_weight = _as_class_weight(class_weight, logits)
    band_bytes = band_bytes or (CPU_BAND_BYTES if logits.device.type == 'cpu' else ACCELERATOR_BAND_BYTES)
    settings = Settings(align_corners, augment_at == 'label', ignore_index, band_bytes, label_smoothing)
    with_grad = torch.is_grad_enabled()
    shift_grad = with_grad and shift is not None and shift.requires_grad
    wanted = Wanted(reduction == 'none', return_accuracy, with_grad and logits.requires_grad, shift_grad)
    loss, hits = _FusedCrossEntropy.apply(logits, shift, labels, weight, class_weight, settings, wanted)
    if reduction == 'mean':
        if avg_factor is None:
            avg_factor = default_avg_factor(labels, class_weight, ignore_index, avg_non_ignore)
        if isinstance(avg_factor, Tensor):
            avg_factor = avg_factor.to(loss.dtype)
        loss = loss / (avg_factor + EPS)
    if not return_accuracy:
        return loss
    return loss, (hits + EPS) * 100 / ((labels != ignore_index).sum() + EPS)


def should_fuse(logits: Tensor, labels: Tensor) -> bool:
    """Whether :func:`fused_cross_entropy` is likely to be faster than to up-sample and take the plain cross entropy.

    It is not with fewer than four classes, without real up-sampling, or where there is little to do at all.

    Args:
        logits: (N, C, h, w).
        labels: (N, H, W).
    """
    num_classes, height, width = logits.shape[1:]
    pixels = labels.shape[1] * labels.shape[2]
    return num_classes >= 4 and pixels >= 4 * height * width and len(labels) * num_classes * pixels >= 1 << 18


# Checks of what the user passes


def _check_tensors(logits: Tensor, labels: Tensor, shift: Tensor | None, weight: Tensor | None) -> None:
    if logits.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        raise TypeError(f'logits must be float16, bfloat16, float32 or float64, got {logits.dtype}')
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f'labels must be integers, got {labels.dtype}; if they are classes, pass labels.long()')
    if shift is not None and not shift.is_floating_point():
        raise TypeError(f'shift must be of a floating-point type, got {shift.dtype}')
    if logits.dim() != 4 or labels.dim() != 3 or len(logits) != len(labels):
        raise ValueError(
            'logits must have shape (N, C, h, w) and labels (N, H, W) with the same N, '
            f'got {tuple(logits.shape)} and {tuple(labels.shape)}'
        )
    if 0 in logits.shape[1:] or 0 in labels.shape[1:]:
        raise ValueError(f'images must not be empty, got logits {tuple(logits.shape)}, labels {tuple(labels.shape)}')
    num_classes = logits.shape[1]
    if shift is not None and tuple(shift.shape) != (num_classes, num_classes):
        raise ValueError(f'shift must have shape {(num_classes, num_classes)}, got {tuple(shift.shape)}')
    if weight is not None and weight.shape != labels.shape:
        raise ValueError(f'weight must have the shape of labels, {tuple(labels.shape)}, got {tuple(weight.shape)}')
    if weight is not None and weight.requires_grad:
        raise ValueError('weight is taken as a constant, but it requires a gradient: pass weight.detach()')
    for name, tensor in (('labels', labels), ('shift', shift), ('weight', weight)):
        if tensor is not None and tensor.device != logits.device:
            raise ValueError(f'{name} must be on the device of logits, {logits.device}, got {tensor.device}')


def _as_class_weight(class_weight: Tensor | Sequence[float] | None, logits: Tensor) -> Tensor | None:
    if class_weight is None:
        return None
    class_weight = torch.as_tensor(class_weight, dtype=compute_dtype(logits), device=logits.device)
    if class_weight.shape != logits.shape[1:2]:
        raise ValueError(f'class_weight must have shape ({logits.shape[1]},), got {tuple(class_weight.shape)}')
    if class_weight.requires_grad:
        raise ValueError('class_weight is taken as a constant, but it requires a gradient: pass class_weight.detach()')
    return class_weight


# What PyTorch sees of it


def _operator(name: str, schema: str, fake: Callable) -> Callable:
    """Make a function an operator that torch.compile takes as a whole; before PyTorch 2.4 it stays a function."""

    def register(function: Callable) -> Callable:
        if not hasattr(torch.library, 'custom_op'):
            return function
        operator = torch.library.custom_op(name, function, mutates_args=(), schema=schema)
        operator.register_fake(fake)
        return operator

    return register


def _fake_pass(logits, labels, shift, weight, class_weight, *flags) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    wanted = Wanted(*flags[len(Settings._fields) :])
    num_classes, dtype = logits.shape[1], compute_dtype(logits)
    return (
        logits.new_empty(labels.shape if wanted.per_pixel else (), dtype=dtype),
        logits.new_empty((), dtype=dtype),
        logits.new_empty(logits.shape if wanted.logits_grad else (0,), dtype=dtype),
        logits.new_empty((num_classes, num_classes) if wanted.shift_grad else (0,), dtype=dtype),
    )


@_operator(
    'mmseg_isda::fused_cross_entropy',
    '(Tensor logits, Tensor labels, Tensor? shift, Tensor? weight, Tensor? class_weight, bool align_corners, '
    'bool at_label, int ignore_index, int band_bytes, float label_smoothing, bool per_pixel, bool hits, '
    'bool logits_grad, bool shift_grad) -> (Tensor, Tensor, Tensor, Tensor)',
    _fake_pass,
)
def _fused_pass(logits, labels, shift, weight, class_weight, *flags) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The loss, the hits, and the gradients with respect to logits and shift (empty if not wanted)."""
    settings, wanted = Settings(*flags[: len(Settings._fields)]), Wanted(*flags[len(Settings._fields) :])
    with torch.no_grad(), full_precision(logits.device):
        done = BandedPass(logits, labels, shift, weight, class_weight, settings, wanted)
        done.run()
    nothing = done.loss.new_empty(0)
    logits_grad = nothing if done.logits_grad is None else done.logits_grad
    shift_grad = nothing.clone() if done.shift_grad is None else done.shift_grad[:-1].clone()
    return done.loss, done.hits, logits_grad, shift_grad


class _FusedCrossEntropy(torch.autograd.Function):
    """A sum has its gradient ready after forward; a map of losses goes through the bands again in backward."""

    @staticmethod
    def forward(ctx, logits, shift, labels, weight, class_weight, settings, wanted) -> tuple[Tensor, Tensor]:
        ctx.settings, ctx.wanted = settings, wanted
        ctx.dtypes = logits.dtype, None if shift is None else shift.dtype
        now = wanted._replace(logits_grad=False, shift_grad=False) if wanted.per_pixel else wanted
        loss, hits, *ctx.grads = _fused_pass(logits, labels, shift, weight, class_weight, *settings, *now)
        ctx.mark_non_differentiable(hits)
        ctx.save_for_backward(logits, shift, labels, weight, class_weight)
        return loss, hits

    @staticmethod
    def backward(ctx, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        logits, shift, labels, weight, class_weight = ctx.saved_tensors
        is_wanted = (ctx.wanted.logits_grad, ctx.wanted.shift_grad)
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # create_graph=True
            grads = _differentiable_grads(grad, logits, shift, labels, weight, class_weight, ctx.settings, ctx.wanted)
        elif ctx.wanted.per_pixel:
            weight = grad if weight is None else grad * weight
            wanted = ctx.wanted._replace(per_pixel=False, hits=False)
            _, _, *grads = _fused_pass(logits, labels, shift, weight, class_weight, *ctx.settings, *wanted)
        else:
            # Out of place: the same gradient may be asked for again.
            grads = [saved * grad for saved in ctx.grads]
        grads = [g.to(t) if w else None for g, t, w in zip(grads, ctx.dtypes, is_wanted, strict=True)]
        return *grads, None, None, None, None, None


def _differentiable_grads(
    grad: Tensor,
    logits: Tensor,
    shift: Tensor | None,
    labels: Tensor,
    weight: Tensor | None,
    class_weight: Tensor | None,
    settings: Settings,
    wanted: Wanted,
) -> list[Tensor | None]:
    """The gradients with respect to logits and shift, from operations that autograd knows."""
    with full_precision(logits.device):
        low = logits.to(compute_dtype(logits))
        up = F.interpolate(low, size=labels.shape[1:], mode='bilinear', align_corners=settings.align_corners)
        loss = isda_cross_entropy(
            up,
            labels,
            None if shift is None else shift.to(up.dtype),
            weight=weight,
            class_weight=class_weight,
            ignore_index=settings.ignore_index,
            reduction='none' if wanted.per_pixel else 'sum',
            augment_at='label' if settings.at_label else 'feature',
            feature_size=tuple(logits.shape[2:]),
            align_corners=settings.align_corners,
            label_smoothing=settings.label_smoothing,
        )
        inputs = ((logits, wanted.logits_grad), (shift, wanted.shift_grad))
        wrt = [x for x, w in inputs if w]
        found = iter(torch.autograd.grad(loss, wrt, grad, create_graph=True, materialize_grads=True))
    return [next(found) if w else None for _, w in inputs]
