"""Features, labels and logits of a trained network, sampled evenly by class, for segmentation and classification."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from rich.progress import track
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..core import resize_labels
from .trained import Trained

ROWS = ('features', 'logits', 'labels', 'image', 'position', 'priority')


@dataclass(frozen=True)
class Sample:
    """What passed a classifier, sampled evenly by class."""

    features: Tensor  # (N, A) what entered it
    logits: Tensor  # (N, C) what left it
    labels: Tensor  # (N,) true classes
    image: Tensor  # (N,) which image of the data set
    position: Tensor  # (N, 2) row and column within it, from 0 to 1; the center for a whole image
    priority: Tensor  # (N,) random numbers; those of lowest priority in each class were kept
    population: Tensor  # (C,) how many there were of each class in the images visited

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor) -> Sample:
        return replace(self, **{name: getattr(self, name)[index] for name in ROWS})

    def __add__(self, other: Sample) -> Sample:
        joined = {name: torch.cat([getattr(self, name), getattr(other, name)]) for name in ROWS}
        return Sample(**joined, population=self.population + other.population)

    @property
    def classes(self) -> list[int]:
        """The classes present."""
        return self.labels.unique().tolist()

    @property
    def importance(self) -> Tensor:
        """(N,) weights, of sum 1, that turn a mean over the sample into one over the images visited."""
        kept = torch.bincount(self.labels, minlength=len(self.population))
        weight = (self.population / kept.clamp_min(1))[self.labels].double()
        return weight / weight.sum()


def keep_evenly(sample: Sample, per_class: int) -> Sample:
    """Keep of each class those of lowest priority, ``per_class`` at most: any of them with equal chance."""
    order = torch.from_numpy(np.lexsort((sample.priority, sample.labels)))
    sizes = torch.bincount(sample.labels)
    rank = torch.arange(len(sample)) - (sizes.cumsum(0) - sizes)[sample.labels[order]]
    return sample[order[rank < per_class]]


@contextmanager
def passes_of(classifier: nn.Module) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Yield a list that fills with what enters and leaves a classifier: (N, A, *spatial) and (N, C, *spatial)."""
    passed: list[tuple[Tensor, Tensor]] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        is_last = isinstance(module, nn.Linear)  # Where the channels of a linear layer are.
        passed.append(tuple(tensor.movedim(-1, 1) if is_last else tensor for tensor in (inputs[0], output)))

    handle = classifier.register_forward_hook(keep)
    try:
        yield passed
    finally:
        handle.remove()


@torch.no_grad()
def collect(trained: Trained, dataset: Dataset, *, images: int = 1000, per_class: int = 200, seed: int = 0) -> Sample:
    """Sample what enters and leaves the classifier, evenly by class, in bounded memory.

    At most ``per_class`` pixels, at the size of the features, or images are kept of each class.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(dataset), generator=generator)[:images].sort()[0]
    loader = trained.cfg.get('val_dataloader') or trained.cfg.test_dataloader
    sample = None
    with passes_of(trained.classifier) as passed:
        for part in track(chosen.split(loader.get('batch_size', 1)), f'Reading {trained.path.name}', transient=True):
            data = pseudo_collate([dataset[index] for index in part.tolist()])
            data = trained.model.data_preprocessor(data, False)
            trained.model(**data, mode='tensor')
            features, logits = (tensor.float().cpu() for tensor in passed.pop())
            labels = _labels_of(data['data_samples'], features.shape[2:])
            new = _as_sample(features, logits, labels, part, generator)
            sample = keep_evenly(new if sample is None else sample + new, per_class)
    return sample


def _labels_of(data_samples: Sequence, size: Sequence[int]) -> Tensor:
    """(N, *size) labels of a batch; those of pixels at the size of the features, by nearest neighbor."""
    if 'gt_sem_seg' not in data_samples[0]:
        return torch.cat([sample.gt_label for sample in data_samples]).cpu().view(-1, *[1] * len(size))
    maps = torch.stack([sample.gt_sem_seg.data[0] for sample in data_samples]).long().cpu()
    return resize_labels(maps, tuple(size))


def _as_sample(features: Tensor, logits: Tensor, labels: Tensor, images: Tensor, generator: torch.Generator) -> Sample:
    """All labeled vectors of a batch."""
    num_classes, size = logits.shape[1], labels.shape[1:]
    grid = torch.cartesian_prod(*[(torch.arange(n) + 0.5) / n for n in size]) if size else torch.full((1, 2), 0.5)
    index = ((labels >= 0) & (labels < num_classes)).flatten().nonzero().squeeze(1)
    flat = labels.flatten()[index].long()
    return Sample(
        features=features.movedim(1, -1).flatten(0, -2)[index],
        logits=logits.movedim(1, -1).flatten(0, -2)[index],
        labels=flat,
        image=images[index // len(grid)],
        position=grid[index % len(grid)],
        priority=torch.rand(len(flat), generator=generator),
        population=torch.bincount(flat, minlength=num_classes),
    )
