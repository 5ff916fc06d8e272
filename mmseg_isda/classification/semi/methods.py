"""The methods of Table 6: what each wants of an unlabeled image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ...engine.semi import batch_statistics_only
from ...engine.semi.branches import STUDENT, TEACHER


class Method(nn.Module):
    """Base of the methods: a scalar, the mean over the unlabeled images."""

    joint_batch = True  # whether the unlabeled images are normalized together with the labeled ones
    branches: tuple[str, ...] = ()  # views that the method needs beside the student's

    def forward(
        self, student: nn.Module, logits: Tensor, inputs: dict[str, Tensor], data_samples: list[DataSample]
    ) -> Tensor:
        """Return L_regularization.

        Args:
            student: the network, a ``SemiSupervisedClassifier``.
            logits: (N, C) of the student's view.
            inputs: images by branch.
            data_samples: of the unlabeled images.
        """
        raise NotImplementedError


def squared_difference(logits: Tensor, target: Tensor) -> Tensor:
    """Return (N,) means over the classes of the squared differences between (N, C) softmax and target probabilities."""
    return (logits.float().softmax(1) - target).square().mean(1)


@MODELS.register_module()
class PiModel(Method):
    """Pi-model (arXiv:1610.02242): two views of an image, with dropout of their own, are to be predicted alike.

    The gradient flows through both. Running statistics of batch norm are those of the first view.
    """

    branches = (TEACHER,)

    def forward(self, student, logits, inputs, data_samples) -> Tensor:
        with batch_statistics_only(student):
            other = student.logits(inputs[TEACHER])
        return squared_difference(logits, other.float().softmax(1)).mean()


@MODELS.register_module()
class TemporalEnsembling(Method):
    r"""Temporal ensembling (arXiv:1610.02242): the target is the average of an image's earlier predictions.

    .. math:: Z \leftarrow \alpha Z + (1 - \alpha) p, \qquad \mathrm{target} = Z / (1 - \alpha^t)

    after t predictions of that image; the first time it has no target and no loss. The averages are saved with the
    model, and shared by all processes.

    Args:
        num_samples: images of the whole training set, whose places (``sample_idx``) the averages are kept by.
        num_classes: C.
        alpha: how much of the average is kept.

    Raises:
        ValueError: if ``alpha`` is not in [0, 1).
    """

    average: Tensor
    num_seen: Tensor

    def __init__(self, num_samples: int, num_classes: int, alpha: float = 0.6) -> None:
        super().__init__()
        if not 0 <= alpha < 1:
            raise ValueError(f'alpha must be in [0, 1), got {alpha}')
        self.alpha = alpha
        self.register_buffer('average', torch.zeros(num_samples, num_classes))
        self.register_buffer('num_seen', torch.zeros(num_samples, dtype=torch.int64))

    def forward(self, student, logits, inputs, data_samples) -> Tensor:
        places = [sample.get('sample_idx', -1) for sample in data_samples]
        if not 0 <= min(places) <= max(places) < len(self.average):
            raise ValueError(
                f'sample_idx of the unlabeled images must lie in [0, {len(self.average)}), got {min(places)} to '
                f'{max(places)}: set num_samples of TemporalEnsembling to the images of the training set, and let '
                f'PackInputs keep the meta key sample_idx'
            )
        index = torch.tensor(places, device=logits.device)
        seen = self.num_seen[index]
        target = self.average[index] / (1 - self.alpha ** seen.clamp_min(1)).unsqueeze(1)
        term = squared_difference(logits, target) * (seen > 0)
        index, predictions = (torch.cat(all_gather(x)) for x in (index, logits.detach().float().softmax(1)))
        self.average[index] = self.alpha * self.average[index] + (1 - self.alpha) * predictions
        self.num_seen[index] += 1
        return term.mean()


@MODELS.register_module()
class MeanTeacher(Method):
    """Mean Teacher (arXiv:1703.01780): the target is the prediction of the averaged network for another view.

    It needs ``MeanTeacherHook``. The teacher predicts in training mode, with dropout and the statistics of the batch,
    and without a gradient.
    """

    branches = (TEACHER,)

    def forward(self, student, logits, inputs, data_samples) -> Tensor:
        teacher = student.teacher.train()
        with torch.no_grad(), batch_statistics_only(teacher):
            target = teacher.logits(inputs[TEACHER]).float().softmax(1)
        return squared_difference(logits, target).mean()


@MODELS.register_module()
class VirtualAdversarialTraining(Method):
    """Virtual adversarial training (arXiv:1704.03976): the prediction is to withstand a small change of the image.

    KL(p || p(x + r)), where p is the prediction for x without its gradient and r has the length ``eps`` and the
    direction that changes the prediction most, from one power iteration. Computed in float32 under autocast too; its
    passes leave the running statistics of batch norm alone.

    Args:
        eps: length of the change (L2 over the image), in units of preprocessed images.
        xi: step of the finite difference, in the same units. In float32 so small a step as the paper's works because
            dropout differs between the passes; for a network without it take 1e-2 or more.

    Raises:
        ValueError: if a number is not positive.
    """

    joint_batch = False

    def __init__(self, eps: float = 8.0, xi: float = 1e-6) -> None:
        super().__init__()
        if not (eps > 0 and xi > 0):
            raise ValueError(f'eps and xi must be positive, got {eps} and {xi}')
        self.eps, self.xi = eps, xi

    def forward(self, student, logits, inputs, data_samples) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False), batch_statistics_only(student):
            images = inputs[STUDENT].float()
            target = logits.detach().float().softmax(1)
            direction = _unit(torch.randn_like(images)).requires_grad_()
            distance = _divergence(target, student.logits(images + self.xi * direction))
            (direction,) = torch.autograd.grad(distance, direction)
            return _divergence(target, student.logits(images + self.eps * _unit(direction)))


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x.flatten(1), eps=1e-30).view_as(x)


def _divergence(target: Tensor, logits: Tensor) -> Tensor:
    return F.kl_div(logits.log_softmax(1), target, reduction='batchmean')
