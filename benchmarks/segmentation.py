"""Decode heads and networks of MMSegmentation with every loss that is compared, for ``head_cost.py`` and others."""

from __future__ import annotations

import re
import warnings
from typing import Any

import measure
import torch
from measure import Call
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor
from workload import Size, bind, ignore_index, street_labels, touch_buffers, training_step

from mmseg_isda.core import ClassCovariance, isda_cross_entropy, resize_labels
from mmseg_isda.segmentation import FusedLossMixin

warnings.filterwarnings('ignore')
STRENGTH = 3.75
NAIVE = 'naive term'
NAIVE_LIMIT_GB = 4
# name: (head that hands over its low-resolution logits, loss)
VARIANTS: dict[str, tuple[bool, dict[str, Any]]] = {
    'cross entropy': (False, dict(type='CrossEntropyLoss')),
    'fused cross entropy, fused head': (True, dict(type='FusedCrossEntropyLoss', fused=True)),
    'ISDA': (False, dict(type='ISDASegLoss')),
    'ISDA, fused head': (True, dict(type='ISDASegLoss', fused=True)),
    'ISDA at labels': (False, dict(type='ISDASegLoss', augment_at='label')),
    'ISDA at labels, fused head': (True, dict(type='ISDASegLoss', augment_at='label', fused=True)),
    'ISDA full': (False, dict(type='ISDASegLoss', covariance='full')),
    'ISDA full, fused head': (True, dict(type='ISDASegLoss', covariance='full', fused=True)),
    'ISDA low rank': (False, dict(type='ISDASegLoss', covariance='low_rank')),
    'ISDA low rank, fused head': (True, dict(type='ISDASegLoss', covariance='low_rank', fused=True)),
    NAIVE: (False, dict(type='NaiveISDALoss')),
}
NETWORK = re.compile(
    r'(?P<family>pspnet|deeplabv3)_r(?P<depth>\d+)-(?P<images>\d+)x(?P<crop>\d+)(?:-C(?P<classes>\d+))?'
)
FUSED_HEADS = {'PSPHead': 'FusedPSPHead', 'ASPPHead': 'FusedASPPHead', 'FCNHead': 'FusedFCNHead'}


@MODELS.register_module()
class NaiveISDALoss(torch.nn.Module):
    """Eq. 7 written out for each pixel; the statistics are the project's."""

    loss_name = 'loss_naive'

    def bind(self, classifier: torch.nn.Conv2d) -> None:
        self.classifier = [classifier]  # in a list, so that it is no submodule
        self.statistics = ClassCovariance(*classifier.weight.shape[:2])
        classifier.register_forward_hook(lambda module, inputs, output: setattr(self, 'seen', (inputs[0], output)))

    def forward(self, cls_score: Tensor, label: Tensor, weight: None = None, ignore_index: int = 255) -> Tensor:
        features, logits = self.seen
        low = resize_labels(label, features.shape[2:])
        self.statistics.update(features, low, ignore_index)
        shift = naive_term(self.classifier[0].weight.flatten(1), self.statistics.covariance, low, ignore_index)
        shifted = (logits + shift.view(*low.shape, -1).movedim(-1, 1)).float()
        up = torch.nn.functional.interpolate(
            shifted, size=label.shape[1:], mode='bilinear', align_corners=bool(label.shape[1] % 2)
        )
        return isda_cross_entropy(up, label, None, ignore_index=ignore_index)


def naive_term(weight: Tensor, variance: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
    """Return (P, C) shifts, by tensors of (P, C, A)."""
    labels = labels.flatten()
    valid = labels != ignore_index
    labels = labels.masked_fill(~valid, 0)
    difference = weight.unsqueeze(0) - weight[labels].unsqueeze(1)
    term = STRENGTH / 2 * (difference.square() * variance[labels].unsqueeze(1)).sum(2)
    return term * valid.unsqueeze(1)


def naive_gb(size: Size) -> float:
    """Return about what the naive term takes, in GB: five tensors of pixels x classes x features at a time."""
    return 5 * 4 * size.images * size.low**2 * size.classes * size.features / 1e9


# From the classifier on


class Head(BaseDecodeHead):
    """The part of a decode head from the classifier on."""

    def forward(self, inputs: tuple[Tensor]) -> Tensor:
        return self.cls_seg(inputs[0])


class FusedHead(FusedLossMixin, Head):
    """The same with the fused pass."""


def head_variants(case: str) -> list[str]:
    """Return the losses to compare; the naive term where it fits into memory."""
    return [name for name in VARIANTS if name != NAIVE or naive_gb(Size.parse(case)) < NAIVE_LIMIT_GB]


def new_head(num_classes: int, num_features: int, fused: bool, loss: dict[str, Any], **options: Any) -> Head:
    """Return a head in training mode, whose loss is bound to its classifier."""
    init_default_scope('mmseg')
    options.update(in_channels=num_features, channels=num_features, num_classes=num_classes, dropout_ratio=0)
    head = (FusedHead if fused else Head)(**options, loss_decode=dict(loss)).train()
    bind(head, head.loss_decode)
    if loss['type'] == 'NaiveISDALoss':
        head.loss_decode.bind(head.conv_seg)
    return head


def head_loss(head: Head, features: Tensor, labels: Tensor, strength: float) -> Tensor:
    """Return the loss of (N, A, h, w) features and (N, H, W) labels as MMSegmentation takes it, with its accuracy."""
    head.loss_decode.strength = strength
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]
    losses = head.loss((features,), samples, None)
    return sum(value for key, value in losses.items() if 'loss' in key)


def head_step(case: str, variant: str, device: str) -> Call:
    """Return a call that runs a head forward and backward once.

    Args:
        case: a size such as ``N2C19``.
        variant: one of ``VARIANTS``.
        device: ``'cpu'`` or ``'cuda'``.
    """
    torch.manual_seed(0)
    size, (fused, loss) = Size.parse(case), VARIANTS[variant]
    options = dict(align_corners=size.align_corners, ignore_index=ignore_index(size.classes))
    head = new_head(size.classes, size.features, fused, loss, **options).to(device)
    touch_buffers(head)
    features = torch.randn(size.images, size.features, size.low, size.low, device=device, requires_grad=True)
    labels = street_labels(size.images, size.classes, size.high, device)

    def call() -> None:
        head.zero_grad()
        features.grad = None
        head_loss(head, features, labels, STRENGTH).backward()

    return call


# The whole step


def network_variants(case: str) -> list[str]:
    """Return the losses that both heads of a network are compared with."""
    return [name for name in VARIANTS if name != NAIVE]


def build(case: str, variant: str) -> torch.nn.Module:
    """Return a network in training mode.

    Args:
        case: e.g. ``pspnet_r18-2x512`` (two images of 512x512, 19 classes) or ``deeplabv3_r50-4x512-C150``.
        variant: one of ``VARIANTS``.
    """
    init_default_scope('mmseg')
    match = NETWORK.fullmatch(case)
    if not match:
        raise ValueError(f'a network reads like pspnet_r18-2x512 or deeplabv3_r50-4x512-C150, got {case!r}')
    depth, crop, classes = match['depth'], int(match['crop']), int(match['classes'] or 19)
    base = '18' if depth == '18' else '50'
    path = measure.ROOT / 'configs' / 'camvid' / f'{match["family"]}_r{base}-d8_1xb8-8k_camvid-360x480.py'
    model = Config.fromfile(path).model
    model.backbone.depth = int(depth)
    model.data_preprocessor.size = (crop, crop)
    fused, loss = VARIANTS[variant]
    for head, weight in ((model.decode_head, 1.0), (model.auxiliary_head, 0.4)):
        head.num_classes = classes
        head.loss_decode = dict(loss, loss_weight=weight)
        head.type = FUSED_HEADS[head.type] if fused else head.type
    torch.manual_seed(0)
    return MODELS.build(model).train()


def network_step(case: str, variant: str, device: str) -> Call:
    """Return a call that makes one training step; see :func:`build` for the arguments."""
    model = build(case, variant).to(device)
    match = NETWORK.fullmatch(case)
    images, crop = int(match['images']), int(match['crop'])
    labels = street_labels(images, model.decode_head.num_classes, crop, 'cpu')
    inputs = [torch.randint(0, 256, (3, crop, crop), dtype=torch.uint8) for _ in range(images)]
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]
    for sample in samples:
        sample.set_metainfo(dict(img_shape=(crop, crop), ori_shape=(crop, crop)))

    def batch() -> dict:  # The preprocessor puts labels into the samples that it is given.
        return dict(inputs=list(inputs), data_samples=[sample.clone() for sample in samples])

    return training_step(model, batch, lr=0.01, with_hook='ISDA' in variant)
