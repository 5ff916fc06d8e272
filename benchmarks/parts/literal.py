"""ISDA written out in plain PyTorch, in any data type and on any device: the truth in float64, the yardstick below.

The classifier is the convolution or linear layer of a network, and its logits are up-sampled in their own data type:
on a GPU these two alone err more than all that follows, in ISDA as in plain cross entropy.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = 255
STRENGTH = 1.5
SCALE = 1024.0
KINDS = ('diagonal', 'full', 'low_rank', 'shared', 'identity')


class Problem(NamedTuple):
    """Two batches at one classifier: the first goes into the statistics alone, the second has a loss as well.

    Attributes:
        features: two of (N, A, h, w), or of (N, A).
        labels: two of (N, H, W), or of (N,).
        weight, bias: (C, A) and (C,) of the classifier.
    """

    features: tuple[Tensor, Tensor]
    labels: tuple[Tensor, Tensor]
    weight: Tensor
    bias: Tensor

    def to(self, device: str, dtype: torch.dtype) -> Problem:
        """Return it elsewhere, its floats rounded."""
        return Problem(
            tuple(features.to(device, dtype) for features in self.features),
            tuple(labels.to(device) for labels in self.labels),
            self.weight.to(device, dtype),
            self.bias.to(device, dtype),
        )


def make_problem(*, of_maps: bool, quick: bool) -> Problem:
    """Return a random problem in float64: maps of 17x17 and labels of 65x65, or vectors."""
    torch.manual_seed(0)
    classes, size, low, high = (5, 8, 5, 17) if quick else (19, 32, 17, 65)
    features, labels = [], []
    for _ in range(2):
        shape = (2, high, high) if of_maps else (64,)
        label = torch.randint(0, classes, shape)
        label[torch.rand(shape) < 0.1] = IGNORED
        features.append(torch.randn(2, size, low, low) if of_maps else torch.randn(64, size))
        labels.append(label)
    problem = Problem(tuple(features), tuple(labels), torch.randn(classes, size), torch.randn(classes))
    return problem.to('cpu', torch.float64)


def nearest(labels: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return label maps at the size of the features."""
    return F.interpolate(labels[:, None].double(), size=size, mode='nearest')[:, 0].long()


def upsampled(x: Tensor, labels: Tensor) -> Tensor:
    """Return maps at the size of the labels."""
    return F.interpolate(x, size=labels.shape[1:], mode='bilinear', align_corners=True)


def covariances(rows: Tensor, labels: Tensor, kind: str, num_classes: int) -> Tensor:
    """Return the (C, A, A) covariances of (P, A) rows at once, class by class."""
    if kind == 'identity':
        return torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device).expand(num_classes, -1, -1)
    groups = [rows[labels == y] for y in range(num_classes)]
    if kind == 'shared':
        groups = [rows[labels != IGNORED]] * num_classes
    centered = [group - group.mean(0) for group in groups]
    found = torch.stack([group.t() @ group / max(len(group), 1) for group in centered])
    return torch.diag_embed(found.diagonal(dim1=1, dim2=2)) if kind == 'diagonal' else found


def literal(
    problem: Problem, kind: str, augment_at: str, *, logits_dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """Return loss and gradients of the second batch (Eq. 7), in the data type of the problem, float32 at least.

    Args:
        kind: of the covariances; ``'low_rank'`` is full here.
        augment_at: placement of the shift.
        logits_dtype: what the classifier computes in; by default the data type of the problem.
    """
    inputs = [problem.features[1].clone(), problem.weight.clone(), problem.bias.clone()]
    x, weight, bias = (tensor.requires_grad_() for tensor in inputs)
    wide = torch.promote_types(weight.dtype, torch.float32)
    small = [labels if x.dim() == 2 else nearest(labels, x.shape[2:]) for labels in problem.labels]
    rows = torch.cat([features.movedim(1, -1).flatten(0, -2) for features in problem.features]).to(wide)
    sigma = covariances(rows, torch.cat([labels.flatten() for labels in small]), kind, len(weight))
    difference = weight.to(wide) - weight.to(wide).unsqueeze(1)
    shift = STRENGTH / 2 * torch.einsum('yja,yab,yjb->yj', difference, sigma, difference)
    shift = torch.cat([shift, shift.new_zeros(IGNORED + 1 - len(shift), len(weight))])  # nothing where ignored
    dtype = logits_dtype or weight.dtype
    kernel = weight.view(*weight.shape, *[1] * (x.dim() - 2))
    logits = (F.linear if x.dim() == 2 else F.conv2d)(x.to(dtype), kernel.to(dtype), bias.to(dtype))
    labels = problem.labels[1]
    added = shift[small[1] if augment_at == 'feature' else labels].movedim(-1, 1)
    if x.dim() == 4:
        logits = upsampled(logits, labels)
        added = upsampled(added, labels) if augment_at == 'feature' else added
    loss = F.cross_entropy(logits.to(wide) + added, labels, ignore_index=IGNORED)
    return results(loss, x, weight, bias)


def results(loss: Tensor, features: Tensor, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """Return the loss and its gradients, scaled on the way so that none underflows in float16."""
    names = ('features', 'weight', 'bias')
    grads = torch.autograd.grad(loss * SCALE, (features, weight, bias))
    return {'loss': loss.detach()} | {name: grad.double() / SCALE for name, grad in zip(names, grads, strict=True)}


def errors(found: dict[str, Tensor], truth: dict[str, Tensor]) -> dict[str, float]:
    """Return the largest difference in each tensor, relative to its largest number."""
    largest = {}
    for name, expected in truth.items():
        actual = found[name].detach().to('cpu', torch.float64).view_as(expected)
        largest[name] = float((actual - expected).abs().max() / expected.abs().max())
    return largest
