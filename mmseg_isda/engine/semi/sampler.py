"""Batches with a fixed share of each source, e.g. of labelled and of unlabelled images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from mmengine.dataset import ConcatDataset
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.logging import print_log
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import Sampler


@DATA_SAMPLERS.register_module()
class MultiSourceSampler(Sampler):
    """Sampler of batches that take a fixed number of samples from each data set of a ``ConcatDataset``.

    Each source is an endless stream of shuffled passes over its samples. An epoch is as many batches as the source with
    the most batches needs for one pass, rounded up; the others are repeated. So every batch is complete, no
    source runs dry, and an epoch ends. Epoch e continues the streams where epoch e - 1 left them, which makes
    resumed trainings exact. Several processes take turns, so that they see the batches of one process with a batch size
    as large as theirs together.

    Unlike MMDetection's sampler of this name, it works with loops by epochs as well as by iterations.

    Args:
        dataset: the sources.
        batch_size: samples of a batch, that of the data loader.
        source_ratio: share of each source; the first takes what rounding leaves.
        shuffle: shuffle each pass.
        seed: of the shuffling; by default a random one that all processes share.
        num_batches: of an epoch, in place of that rule. Loops by iterations start their workers anew each epoch: give
            them ``max_iters``.

    Raises:
        TypeError: if the data set is no ``ConcatDataset``.
        ValueError: if a source is empty or gets no sample, or the shares do not fit the sources.

    Example of a config::

        train_dataloader = dict(
            batch_size=256,
            sampler=dict(type='MultiSourceSampler', batch_size=256, source_ratio=[1, 1]),
            dataset=dict(type='ConcatDataset', datasets=[labeled_dataset, unlabeled_dataset]))
    """

    def __init__(
        self,
        dataset: ConcatDataset,
        batch_size: int,
        source_ratio: Sequence[float],
        shuffle: bool = True,
        seed: int | None = None,
        num_batches: int | None = None,
    ) -> None:
        if not hasattr(dataset, 'cumulative_sizes'):
            raise TypeError(f'MultiSourceSampler needs a ConcatDataset of its sources, got {type(dataset).__name__}')
        self.sizes = [len(source) for source in dataset.datasets]
        self.num_per_source = _split_batch(batch_size, source_ratio, self.sizes)
        self.batch_size, self.shuffle = batch_size, shuffle
        self.offsets = [0, *dataset.cumulative_sizes[:-1]]
        self.rank, self.world_size = get_dist_info()
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch = self._skipped = 0
        joined = [number * self.world_size for number in self.num_per_source]
        longest = max(-(-size // number) for size, number in zip(self.sizes, joined, strict=True))
        self.num_batches = longest if num_batches is None else num_batches
        if self.num_batches < 1:
            raise ValueError(f'num_batches must be at least 1, got {num_batches}')
        self._order = lru_cache(maxsize=2 * len(self.sizes))(self._pass)
        parts = [
            f'{number} of the {size} samples of source {source} ({self.num_batches * number / size:.3g} passes)'
            for source, (number, size) in enumerate(zip(joined, self.sizes, strict=True))
        ]
        print_log(f'An epoch has {self.num_batches} batches; each takes {" and ".join(parts)}.', 'current')

    def _pass(self, source: int, number: int) -> np.ndarray:
        """Return the order of one pass over a source, the same on every machine."""
        size = self.sizes[source]
        return np.random.RandomState([self.seed, source, number]).permutation(size) if self.shuffle else np.arange(size)

    def __iter__(self) -> Iterator[int]:
        """Yield the indices of this process for one epoch, batch by batch and within a batch source by source."""
        first = self._skipped + self.epoch * self.num_batches
        for step in range(first, first + self.num_batches):
            for source, number in enumerate(self.num_per_source):
                for place in range(step * number, (step + 1) * number):
                    which, within = divmod(place * self.world_size + self.rank, self.sizes[source])
                    yield self.offsets[source] + int(self._order(source, which)[within])

    def __len__(self) -> int:
        return self.num_batches * self.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch; the loops of MMEngine call it."""
        self.epoch = epoch

    def skip(self, num_samples: int) -> None:
        """Begin after the first samples of this process; loops by iterations call it when they resume."""
        self._skipped = num_samples // self.batch_size


def _split_batch(batch_size: int, source_ratio: Sequence[float], sizes: Sequence[int]) -> list[int]:
    """Return how many samples of a batch come from each source."""
    if len(source_ratio) != len(sizes):
        raise ValueError(f'source_ratio must have {len(sizes)} values, one for each source, got {list(source_ratio)}')
    empty = [source for source, size in enumerate(sizes) if size == 0]
    if empty:
        raise ValueError(f'source {empty[0]} of the ConcatDataset has no samples: each source must have at least one')
    if min(source_ratio) <= 0:
        raise ValueError(f'source_ratio must be positive, got {list(source_ratio)}')
    numbers = [int(batch_size * share / sum(source_ratio)) for share in source_ratio]
    numbers[0] = batch_size - sum(numbers[1:])
    if min(numbers) < 1:
        raise ValueError(
            f'batch_size={batch_size} with source_ratio={list(source_ratio)} gives the sources {numbers} samples of a '
            f'batch, but each needs at least 1: enlarge batch_size'
        )
    return numbers
