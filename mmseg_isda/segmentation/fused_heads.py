"""Decode heads that leave up-sampling, loss and accuracy to one pass over their logits at feature size.

A head of MMSegmentation up-samples its logits and takes their top-1 accuracy itself, which costs as much as the plain
cross entropy. These heads are the host's in all else, weights and their names included: a checkpoint of one loads in
the other, and for inference the host's is enough.
"""

from __future__ import annotations

from mmseg.models import decode_heads
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..core.fused import wants_fusing
from .heads import SlimASPPHead
from .losses import FusedCrossEntropyLoss, ISDASegLoss


class FusedLossMixin:
    """Mixin to put before a subclass of ``BaseDecodeHead`` whose ``forward`` returns what ``cls_seg`` makes.

    The fused pass is used where the head has no pixel sampler and one loss, :class:`ISDASegLoss` or
    :class:`FusedCrossEntropyLoss`, whose option ``fused`` asks for it; elsewhere the host's own way is.
    """

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: list) -> dict[str, Tensor]:
        """Return the loss under its name, and ``acc_seg``, the top-1 accuracy in per cent, (1,).

        Args:
            seg_logits: (N, C, h, w).
            batch_data_samples: N samples with ``gt_sem_seg`` of (1, H, W).
        """
        label = self._stack_batch_gt(batch_data_samples).squeeze(1)
        losses = self.loss_decode if isinstance(self.loss_decode, nn.ModuleList) else [self.loss_decode]
        loss, is_ours = losses[0], isinstance(losses[0], ISDASegLoss | FusedCrossEntropyLoss)
        alone = is_ours and len(losses) == 1 and self.sampler is None
        if not alone or not wants_fusing(loss.cross_entropy.fused, seg_logits, label):
            return super().loss_by_feat(seg_logits, batch_data_samples)
        value, accuracy = loss.at_feature_size(
            seg_logits, label, align_corners=self.align_corners, ignore_index=self.ignore_index
        )
        return {loss.loss_name: value, 'acc_seg': accuracy}


def _fused(head: type) -> type:
    """Register ``Fused<head>``, the head with the fused pass."""
    members = {'__doc__': f'``{head.__name__}`` with the fused pass.', '__module__': __name__}
    return MODELS.register_module(module=type(f'Fused{head.__name__}', (FusedLossMixin, head), members))


FusedFCNHead = _fused(decode_heads.FCNHead)
FusedPSPHead = _fused(decode_heads.PSPHead)
FusedASPPHead = _fused(decode_heads.ASPPHead)
FusedSlimASPPHead = _fused(SlimASPPHead)
FusedDepthwiseSeparableASPPHead = _fused(decode_heads.DepthwiseSeparableASPPHead)  # DeepLab-v3+
FusedDepthwiseSeparableFCNHead = _fused(decode_heads.DepthwiseSeparableFCNHead)
FusedUPerHead = _fused(decode_heads.UPerHead)
FusedSegformerHead = _fused(decode_heads.SegformerHead)
