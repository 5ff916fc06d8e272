"""The detection demo: pretrain with ISDA, convert the checkpoint, train a detector from it, paint what it finds.

    python -m demo.detection

It draws street scenes with COCO's annotations, pretrains a slim ResNet-18 with ISDA on crops of their objects, converts
the backbone for MMDetection, trains a small Mask R-CNN from it, and paints what it finds on six validation images:
work_dirs/demo_detection/detections.jpg. Each step is a command that you can type yourself, and is shown. Called again,
it repeats no finished step and resumes a training that was stopped. It shows the way; it compares nothing.
"""

from __future__ import annotations

import hashlib
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from functools import partial
from pathlib import Path

from mmseg_isda.commands.records import read_json, write_json
from mmseg_isda.errors import OptionError

from .compare import CONFIGS
from .steps import Step, run_demo, run_steps, trained

PRETRAINING, DETECTOR = CONFIGS / 'crops_resnet_isda.py', CONFIGS / 'scenes_mask-rcnn.py'
SETTINGS, RESULT = 'demo.json', 'result.json'


def main() -> None:
    args = parse_args()
    claim(args)
    run_steps(plan(args), args.work_dir / 'logs')
    validations = read_json(args.work_dir / 'detector' / RESULT, 'validations')['validations']
    last = validations[max(validations, key=int)]
    print(
        f'AP on the validation images: boxes {100 * last["coco/bbox_mAP"]:.1f}, masks {100 * last["coco/segm_mAP"]:.1f}'
    )
    print(f'Open {args.work_dir / "detections.jpg"}: what it finds on six of them.')


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo_detection'), help='default: %(default)s')
    parser.add_argument('--data-root', type=Path, default=Path('data/scenes'), help='default: %(default)s')
    parser.add_argument('--pretraining-iters', type=int, default=600, help='on crops (default: %(default)s)')
    parser.add_argument('--iters', type=int, default=600, help='of the detector (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of weights and data order (default: %(default)s)')
    args = parser.parse_args()
    for option, value in (('pretraining-iters', args.pretraining_iters), ('iters', args.iters)):
        if value < 1:
            raise OptionError(f'--{option} must be at least 1, got {value}')
    return args


def claim(args: Namespace) -> None:
    """Keep the settings beside the results, so that results of other settings are never taken for these.

    Raises:
        OptionError: if the work dir holds a demo with other settings.
    """
    settings = {key: str(value) for key, value in vars(args).items() if key != 'work_dir'}
    text = b''.join(path.read_bytes() for path in (PRETRAINING, DETECTOR))
    settings['configs'] = hashlib.sha256(text).hexdigest()[:16]
    path = args.work_dir / SETTINGS
    known = read_json(path) if path.is_file() else settings
    other = [f'{key} {known.get(key)}, now {value}' for key, value in settings.items() if known.get(key) != value]
    if other:
        raise OptionError(
            f'{args.work_dir} holds a demo with other settings ({"; ".join(other)}): name another --work-dir, or '
            f'delete it'
        )
    write_json(path, settings)


def plan(args: Namespace) -> list[Step]:
    """Return all steps in order."""
    pretraining, detector, backbone = (args.work_dir / name for name in ('pretraining', 'detector', 'backbone.pth'))
    data = args.data_root
    roots = [f'{part}_dataloader.dataset.data_root={data}' for part in ('train', 'val', 'test')]
    truth = [f'{part}_evaluator.ann_file={data / "annotations" / "instances_val.json"}' for part in ('val', 'test')]
    source = pretraining / f'iter_{args.pretraining_iters}.pth'
    convert = ['-m', 'mmseg_isda.commands', 'convert', source, backbone, '--target', 'mmdet']
    paint = ['-m', 'demo.detections', detector / DETECTOR.name, detector / f'iter_{args.iters}.pth', '--out']
    page = args.work_dir / 'detections.jpg'
    return [
        Step('Draw the street scenes', ['-m', 'demo.scenes', data]),
        training(args, 'Pretrain with ISDA', PRETRAINING, pretraining, args.pretraining_iters, roots),
        Step('Convert the backbone', convert, backbone),
        training(args, 'Train a Mask R-CNN from it', DETECTOR, detector, args.iters,
                 [*roots, *truth, f'model.backbone.init_cfg.checkpoint={backbone}']),
        Step('Paint what it finds', [*paint, page], page),
    ]  # fmt: skip


def training(args: Namespace, title: str, config: Path, folder: Path, iters: int, options: list[str]) -> Step:
    """Return a training, which is over when its record is there, whatever checkpoints it has."""
    warm_up = max(1, min(50, iters // 10))
    options = [
        *options,
        f'train_cfg.max_iters={iters}',
        f'train_cfg.val_interval={iters}',
        f'param_scheduler.0.end={warm_up}',
        f'param_scheduler.1.begin={warm_up}',
        f'param_scheduler.1.end={max(iters, warm_up + 1)}',
    ]
    words = ['-m', 'mmseg_isda.commands', 'train', config, '--work-dir', folder, '--seed', args.seed, '--resume']
    words += ['--record', folder / RESULT, '--cfg-options', *options]
    progress = partial(trained, [folder], RESULT, ('step', iters))
    return Step(title, words, folder / RESULT, progress, threads=None)


if __name__ == '__main__':
    sys.exit(run_demo(main))
