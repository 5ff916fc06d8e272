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

SUFFIXES = ('.png', '.jpg', '.jpeg')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', metavar='CONFIG|FOLDER', help='semi-supervised config, or folder of images')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0], metavar='N', help='of the draws (default: 0)')
    parser.add_argument('--share', type=float, help='of a folder: share of labeled images')
    parser.add_argument('--out', help='of a folder: how the names of the files begin')
    args = parser.parse_args()
    written = of_folder(args) if Path(args.source).is_dir() else of_config(args)
    print('\n'.join(map(str, written)))


def of_config(args: argparse.Namespace) -> list[Path]:
    """Write the split files of a config."""
    from mmengine.registry import init_default_scope

    from mmseg_isda.classification.semi.data import make_splits
    from mmseg_isda.commands.loading import load_config

    cfg = load_config(args.source)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    return make_splits(cfg, args.seeds)


def of_folder(args: argparse.Namespace) -> list[Path]:
    """Write lists of names."""
    from mmseg_isda.engine.semi import split_names
    from mmseg_isda.errors import OptionError
    from mmseg_isda.files import write_bytes

    if args.share is None or args.out is None:
        raise OptionError('a folder needs --share, the share of labeled images, and --out, the beginning of the names')
    names = [path.stem for path in Path(args.source).iterdir() if path.suffix.lower() in SUFFIXES]
    written = []
    for seed in args.seeds:
        parts = split_names(names, round(args.share * len(names)), seed)
        for part, chosen in zip(('labeled', 'unlabeled'), parts, strict=True):
            written.append(Path(f'{args.out}_seed-{seed}_{part}.txt'))
            write_bytes(('\n'.join(chosen) + '\n').encode(), written[-1])
    return written


if __name__ == '__main__':
    from mmseg_isda.commands.outcome import run_command

    sys.exit(run_command(main))
