"""Mean Teacher for MMSegmentation, with the term of Eq. 15 on unlabeled pixels: an extension of this project."""

from __future__ import annotations

from typing import Any

import torch
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..core import resize_labels
from ..engine.loss import ISDALossBase
from ..engine.semi import StudentMixin, consistency_term
from ..engine.semi.branches import STUDENT, SUP, TEACHER, with_branches


@MODELS.register_module()
class MeanTeacherSegmentor(StudentMixin, EncoderDecoder):
    r"""``EncoderDecoder`` with the loss of Eq. 19 on batches of labeled and unlabeled images.

    The labeled loss is that of the heads. On each unlabeled pixel, at the size of the features, the decode head is to
    predict what its average over training (``MeanTeacherHook``) predicts for another view, by squared difference;
    and Eq. 15 takes statistics, classifier and lambda of the ISDASegLoss of the decode head. Pixels that were padded,
    and those of which the teacher is not sure, have no loss. In validation it is the plain segmentor, and its
    checkpoints load in one. The paper has no semi-supervised segmentation.

    The views must show the same pixels: crop and flip before ``MultiBranch``, change colors within.

    Args:
        *args: of ``EncoderDecoder``.
        semi_train_cfg: options of :class:`~mmseg_isda.engine.semi.SemiTrainCfg`; ``confidence`` is the teacher's.
        data_preprocessor: the usual one; it is applied to each branch.
        **kwargs: of ``EncoderDecoder``.

    Raises:
        ValueError: if an option is out of range.
    """

    def __init__(
        self, *args: Any, semi_train_cfg: dict | None = None, data_preprocessor: dict | None = None, **kwargs: Any
    ) -> None:
        branches = with_branches(data_preprocessor, MODELS, 'SegDataPreProcessor')
        super().__init__(*args, data_preprocessor=branches, **kwargs)
        self.init_student(semi_train_cfg)

    def low_logits(self, inputs: Tensor) -> Tensor:
        """Return (N, C, h, w) logits at the size of the features."""
        return self.decode_head(self.extract_feat(inputs))

    def loss(self, inputs: dict[str, Tensor], data_samples: dict[str, list[SegDataSample]]) -> dict[str, Tensor]:
        """Return the terms of Eq. 19.

        Args:
            inputs: images by branch: ``'sup'``, ``'unsup_student'`` and ``'unsup_teacher'``.
            data_samples: their annotations.

        Raises:
            ValueError: if a branch is missing, or the share of labeled images changes between batches.
        """
        self.check_branches(inputs, (TEACHER,))
        losses = {f'sup_{name}': value for name, value in super().loss(inputs[SUP], data_samples[SUP]).items()}
        teacher = self.teacher.eval()
        with torch.no_grad():
            target = teacher.low_logits(inputs[TEACHER]).float().softmax(1)
        logits = self.low_logits(inputs[STUDENT])
        counts = _real_pixels(inputs[STUDENT], data_samples[STUDENT], target.shape[2:])
        counts = counts * (target.amax(1) >= self.semi_train_cfg.confidence)
        weight, eta_1 = self.unsup_weight(), self.semi_train_cfg.eta_1
        if eta_1:
            term = consistency_term(_isda_loss(self.decode_head), logits, sample_weight=counts)
            losses['unsup_loss_isda'] = eta_1 * term
        difference = (logits.float().softmax(1) - target).square().mean(1)
        losses['unsup_loss_consistency'] = weight * (difference * counts).mean()
        losses['unsup_weight'] = logits.new_tensor(weight)
        losses['unsup_share'] = counts.float().mean()
        return losses


def _isda_loss(head: nn.Module) -> nn.Module:
    """Return the ISDA loss among those of a head, or its first loss."""
    losses = list(head.loss_decode) if isinstance(head.loss_decode, nn.ModuleList) else [head.loss_decode]
    return next((loss for loss in losses if isinstance(loss, ISDALossBase)), losses[0])


def _real_pixels(images: Tensor, data_samples: list[SegDataSample], size: tuple[int, int]) -> Tensor:
    """Return (N, h, w), 1 where a pixel is of the image, 0 where it was padded; by nearest neighbor."""
    real = images.new_zeros(len(images), *images.shape[2:])
    for mask, sample in zip(real, data_samples, strict=True):
        left, right, top, bottom = sample.metainfo.get('padding_size', (0, 0, 0, 0))
        mask[top : mask.shape[0] - bottom, left : mask.shape[1] - right] = 1
    return resize_labels(real, size)
