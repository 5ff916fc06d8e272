"""Draw which training images keep their labels, by seed.

Of a semi-supervised classification config, whose split_file is written for each seed, equally many of each class:

    python tools/make_split.py configs/semi/vat_isda_cnn13_cifar10-1000.py --seeds 0 1 2 3 4

Of a folder of images for segmentation, as lists of names, OUT_seed-N_labeled.txt and OUT_seed-N_unlabeled.txt, which a
data set takes as ann_file:

    python tools/make_split.py data/camvid/train --share 0.125 --seeds 0 --out data/splits/camvid_1-8
"""

import argparse
import sys
from pathlib import Path

from mmseg_isda.commands.outcome import run_command
from mmseg_isda.errors import OptionError

SUFFIXES = ('.png', '.jpg', '.jpeg')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', metavar='CONFIG|FOLDER', help='semi-supervised config, or folder of images')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0], metavar='N', help='of the draws (default: 0)')
    parser.add_argument('--share', type=float, help='of a folder: share of labeled images')
    parser.add_argument('--out', help='of a folder: how the names of the files begin')
    args = parser.parse_args()
    if min(args.seeds) < 0:
        raise OptionError(f'a seed is 0 or more, got {min(args.seeds)}')
    written = of_folder(args) if Path(args.source).is_dir() else of_config(args)
    print('\n'.join(map(str, written)))


def of_config(args: argparse.Namespace) -> list[Path]:
    """Write the split files of a config, or check those that are there. Its images are not whitened."""
    from mmengine.registry import init_default_scope
    from mmpretrain.registry import DATASETS

    from mmseg_isda.classification.semi import LabelSplitDataset
    from mmseg_isda.commands.loading import load_config

    cfg = load_config(args.source)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    settings = cfg.train_dataloader.dataset
    if settings.type != 'SemiSupervisedDataset' or not settings.get('split_file'):
        raise OptionError(
            f'{args.source}: train_dataloader.dataset must be a SemiSupervisedDataset with a split_file, got a '
            f'{settings.type} with split_file={settings.get("split_file")}'
        )
    images = settings.dataset
    while images.type == 'ZCADataset':
        images = images.dataset
    whole, written = DATASETS.build(images), []
    for seed in args.seeds:
        LabelSplitDataset(whole, 'labeled', settings.num_labeled, seed, settings.split_file)
        written.append(Path(settings.split_file.format(num_labeled=settings.num_labeled, seed=seed)))
    return written


def of_folder(args: argparse.Namespace) -> list[Path]:
    """Write lists of names."""
    import numpy as np

    from mmseg_isda.engine.subset import choose
    from mmseg_isda.files import write_bytes

    if args.out is None or args.share is None or not 0 < args.share < 1:
        raise OptionError('a folder needs --share, above 0 and below 1, and --out, how the names of the files begin')
    names = sorted(path.stem for path in Path(args.source).iterdir() if path.suffix.lower() in SUFFIXES)
    written = []
    for seed in args.seeds:
        labeled = choose(np.zeros(len(names)), round(args.share * len(names)), seed, option='the labeled images')
        parts = dict(labeled=labeled, unlabeled=np.setdiff1d(range(len(names)), labeled))
        for part, places in parts.items():
            written.append(Path(f'{args.out}_seed-{seed}_{part}.txt'))
            write_bytes(''.join(f'{names[place]}\n' for place in places).encode(), written[-1])
    return written


if __name__ == '__main__':
    sys.exit(run_command(main))
