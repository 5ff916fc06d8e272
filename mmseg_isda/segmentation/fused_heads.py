"""Decode heads that leave up-sampling, loss and accuracy to one pass over their logits at feature size.

A head of MMSegmentation up-samples its logits and takes their top-1 accuracy itself, which costs as much as the plain
cross entropy. These heads are the host's in all else, weights and their names included: a checkpoint of one loads in
the other, and for inference the host's is enough.
"""

from __future__ import annotations

from mmseg.models.decode_heads import (
    ASPPHead,
    DepthwiseSeparableASPPHead,
    DepthwiseSeparableFCNHead,
    FCNHead,
    PSPHead,
    SegformerHead,
    UPerHead,
)
from mmseg.registry import MODELS
from torch import Tensor, nn

from .heads import SlimASPPHead
from .losses import FusedCrossEntropyLoss, ISDASegLoss


class FusedLossMixin:
    """To be put before a subclass of ``BaseDecodeHead`` whose ``forward`` returns what ``cls_seg`` makes.

    The fused pass is used where the head has no pixel sampler and one loss, :class:`ISDASegLoss` or
    :class:`FusedCrossEntropyLoss`, whose option ``fused`` asks for it; elsewhere the host's own way is.
    """

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: list) -> dict[str, Tensor]:
        """The loss under its name, and ``acc_seg``, the top-1 accuracy in per cent, (1,).

        Args:
            seg_logits: (N, C, h, w).
            batch_data_samples: N samples with ``gt_sem_seg`` of (1, H, W).
        """
        label = self._stack_batch_gt(batch_data_samples).squeeze(1)
        loss = self._fusable_loss()
        if loss is None or not loss.cross_entropy.wants_fusing(seg_logits, label):
            return super().loss_by_feat(seg_logits, batch_data_samples)
        value, accuracy = loss.at_feature_size(
            seg_logits, label, align_corners=self.align_corners, ignore_index=self.ignore_index
        )
        return {loss.loss_name: value, 'acc_seg': accuracy}

    def _fusable_loss(self) -> ISDASegLoss | FusedCrossEntropyLoss | None:
        losses = self.loss_decode if isinstance(self.loss_decode, nn.ModuleList) else [self.loss_decode]
        only_one = self.sampler is None and len(losses) == 1
        return losses[0] if only_one and isinstance(losses[0], ISDASegLoss | FusedCrossEntropyLoss) else None


@MODELS.register_module()
class FusedFCNHead(FusedLossMixin, FCNHead):
    """``FCNHead`` with the fused pass."""


@MODELS.register_module()
class FusedPSPHead(FusedLossMixin, PSPHead):
    """``PSPHead`` with the fused pass."""


@MODELS.register_module()
class FusedASPPHead(FusedLossMixin, ASPPHead):
    """``ASPPHead`` with the fused pass."""


@MODELS.register_module()
class FusedSlimASPPHead(FusedLossMixin, SlimASPPHead):
    """:class:`~mmseg_isda.segmentation.SlimASPPHead` with the fused pass."""


@MODELS.register_module()
class FusedDepthwiseSeparableASPPHead(FusedLossMixin, DepthwiseSeparableASPPHead):
    """``DepthwiseSeparableASPPHead`` (DeepLab-v3+) with the fused pass."""


@MODELS.register_module()
class FusedDepthwiseSeparableFCNHead(FusedLossMixin, DepthwiseSeparableFCNHead):
    """``DepthwiseSeparableFCNHead`` with the fused pass."""


@MODELS.register_module()
class FusedUPerHead(FusedLossMixin, UPerHead):
    """``UPerHead`` with the fused pass."""


@MODELS.register_module()
class FusedSegformerHead(FusedLossMixin, SegformerHead):
    """``SegformerHead`` with the fused pass."""
