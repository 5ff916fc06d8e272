"""What the analyses of a checkpoint have in common on the command line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from ..commands.arguments import CONFIG_SUFFIXES, parse_options
from ..core import ClassCovariance
from ..core.statistics import KINDS
from ..errors import MissingPathError, OptionError
from ..files import check_file
from .collect import Sample, collect
from .trained import Trained, as_picture, build_dataset, class_names, open_trained, patch_of


class Case(NamedTuple):
    """One checkpoint with what was collected from it."""

    trained: Trained
    dataset: Dataset
    sample: Sample
    names: list[str]

    @property
    def is_dense(self) -> bool:
        """Whether the features are those of pixels."""
        return 'gt_sem_seg' in self.dataset[0]['data_samples']

    def picture(self, index: int) -> np.ndarray:
        """Return the image of a feature of the sample; of a pixel's feature the patch around it."""
        image = as_picture(self.dataset[int(self.sample.image[index])]['inputs'], self.trained.cfg)
        return patch_of(image, self.sample.position[index].tolist()) if self.is_dense else image


def add_source_options(parser: argparse.ArgumentParser, *, split: str, images: int = 1000, per_class: int) -> None:
    """Add what names checkpoints and what to collect from them; the arguments are defaults."""
    parser.add_argument(
        'sources',
        nargs='+',
        metavar='CONFIG CHECKPOINT',
        help='a config and checkpoints of it, or a folder for all of its checkpoints; further configs may follow',
    )
    parser.add_argument('--split', default=split, choices=('train', 'val', 'test'), help=f'data ({split})')
    parser.add_argument('--images', type=int, default=images, help=f'images to visit, at random ({images})')
    parser.add_argument(
        '--per-class', type=int, default=per_class, help=f'images, or pixels, to keep of each class ({per_class})'
    )
    parser.add_argument('--classes', nargs='+', metavar='NAME', help='classes to look at (all)')
    parser.add_argument('--classifier', metavar='NAME', help='layer to look at (that of the first ISDA loss)')
    parser.add_argument(
        '--estimate', choices=KINDS, help='take the covariances from the features collected, not the checkpoint'
    )
    parser.add_argument('--strength', type=float, metavar='LAMBDA', help='lambda (that of the checkpoint)')
    parser.add_argument(
        '--cfg-options', nargs='+', action='extend', default=[], metavar='KEY=VALUE', help='settings to change'
    )


def load_cases(args: argparse.Namespace) -> Iterator[Case]:
    """Yield each checkpoint that the command line names, one network at a time."""
    for config, checkpoint in pairs_of(args.sources):
        trained = open_trained(config, checkpoint, classifier=args.classifier, options=parse_options(args.cfg_options))
        dataset = build_dataset(trained.cfg, args.split, trained.seed)
        names = class_names(dataset, len(trained.weight))
        sample = collect(trained, dataset, images=args.images, per_class=args.per_class, seed=args.seed)
        sample = of_classes(sample, names, args.classes)
        yield Case(_with_statistics(trained, sample, args), dataset, sample, names)


def pairs_of(sources: Sequence[str]) -> list[tuple[Path, Path]]:
    """Return config and checkpoint of each checkpoint named; a config holds for those that follow it."""
    pairs, config = [], None
    for source in map(Path, sources):
        if source.suffix in CONFIG_SUFFIXES:
            config = check_file(source, 'config')
            continue
        if config is None:
            raise OptionError(f'a config must come before {source}: CONFIG CHECKPOINT ...')
        pairs += [(config, path) for path in checkpoints_of(source)]
    if not pairs:
        raise OptionError('no checkpoint is named: CONFIG CHECKPOINT ...')
    return pairs


def checkpoints_of(source: Path) -> list[Path]:
    """Return a checkpoint, or those of a folder in the order of training."""
    if not source.is_dir():
        return [check_file(source, 'checkpoint')]
    numbered = [path for path in source.glob('*.pth') if re.search(r'_\d+$', path.stem)]
    if not numbered:
        raise MissingPathError(f'{source} holds no checkpoint epoch_N.pth or iter_N.pth; name a file, or a work folder')
    return sorted(numbered, key=lambda path: int(path.stem.rpartition('_')[2]))


def of_classes(sample: Sample, names: Sequence[str], wanted: Sequence[str] | None) -> Sample:
    """Return the part of a sample that is of the wanted classes, by name or number; None for all."""
    index = {name: label for label, name in enumerate(names)} | {str(label): label for label in range(len(names))}
    unknown = [name for name in wanted or () if name not in index]
    if unknown:
        raise OptionError(f'--classes: there is no class {unknown[0]!r}; the classes are: {", ".join(names)}')
    labels = sorted({index[name] for name in wanted}) if wanted else list(range(len(names)))
    counts = torch.bincount(sample.labels, minlength=len(names))
    rare = [label for label in labels if counts[label] < 2]
    rest = [names[label] for label in labels if label not in rare]
    if len(labels) < 2 or len(rest) < 2:
        raise OptionError(f'at least two classes with two samples each are needed, got: {", ".join(rest) or "none"}')
    if rare:
        raise OptionError(
            f'class {names[rare[0]]!r} has {int(counts[rare[0]])} sample(s) in the images visited, at least 2 are '
            f'needed: raise --images, or leave it out: --classes {" ".join(map(repr, rest))}'
        )
    return sample[torch.isin(sample.labels, torch.tensor(labels))]


def _with_statistics(trained: Trained, sample: Sample, args: argparse.Namespace) -> Trained:
    """Apply ``--estimate`` and ``--strength``."""
    if args.estimate:
        statistics = ClassCovariance(*trained.weight.shape, args.estimate, sync=False)
        statistics.update(sample.features, sample.labels)
        trained = replace(trained, statistics=statistics, strength=trained.strength or 1.0)
    return trained if args.strength is None else replace(trained, strength=args.strength)
