"""The detection demo: pretrain with ISDA, convert the checkpoint, train a detector from it, score it.

    python tools/demo_detection.py

It draws a tiny data set in COCO's format, pretrains a slim ResNet-18 with ISDA on crops of its objects, converts the
backbone for MMDetection, trains a small Mask R-CNN from it, scores that with pycocotools, and paints what it finds on
six validation pictures: work_dirs/demo_detection/detections.jpg. Each step is a command that you can type yourself,
and is shown. Called again, it repeats no finished step and resumes a training that was stopped.
"""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config

import demo

from . import Step, python, run_steps

CONFIGS = demo.TOOLS.parent / 'configs' / 'tiny_coco'
PRETRAINING = CONFIGS / 'resnet18-slim_isda_demo_tiny-coco-crops-64x64.py'
DETECTOR = CONFIGS / 'mask-rcnn_r18-slim-isda_fpn_demo_tiny-coco-160x224.py'
# As the configs have them.
DATA_ROOT, WORK_DIR = Path('data/tiny_coco'), Path('work_dirs/demo_detection')
BACKBONE = 'resnet18-slim_isda_tiny-coco.pth'
PRETRAINING_ITERATIONS, ITERATIONS = 800, 720
# Seconds of each kind of step on two cores; only their ratios matter once a step is done.
SECONDS = {'data': 15, 'start': 8, 'crops': 0.1, 'pictures': 0.35, 'convert': 6, 'score': 25, 'paint': 10}
# What a line of MMEngine's log says beside loss, accuracy and AP; the step's log file has it all.
DETAILS = re.compile(
    r'\s+((base_)?lr|eta|time|data_time|memory|grad_norm|acc|loss_\w+|coco/\w+_mAP_\w+|head\.isda_lambda): \S+'
)
COUNT = r'Iter\((?:train|test)\) \[\s*(\d+)/(\d+)\]'


def main() -> int:
    args = parse_args()
    try:
        check_settings(args)
        run_steps(plan(args), args.work_dir / 'logs')
    except (ValueError, RuntimeError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1 if isinstance(error, RuntimeError) else 2
    except KeyboardInterrupt:
        print('\nStopped. The same command goes on from here.', file=sys.stderr)
        return 130
    scores = json.loads((args.work_dir / 'scores.json').read_text(encoding='utf-8'))['metrics']
    print(f'\nAP on the validation pictures: boxes {100 * scores["coco/bbox_mAP"]:.1f}, '
          f'masks {100 * scores["coco/segm_mAP"]:.1f}')  # fmt: skip
    print(f'Open {args.work_dir / "detections.jpg"}: what it finds on six of them.')
    return 0


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--work-dir', type=Path, default=WORK_DIR, help='default: %(default)s')
    parser.add_argument('--data-root', type=Path, default=DATA_ROOT, help='default: %(default)s')
    parser.add_argument(
        '--pretraining-iters', type=int, default=PRETRAINING_ITERATIONS, help='on crops (default: %(default)s)'
    )
    parser.add_argument('--iters', type=int, default=ITERATIONS, help='of the detector (default: %(default)s)')
    parser.add_argument('--train', type=int, default=320, help='training pictures (default: %(default)s)')
    parser.add_argument('--val', type=int, default=80, help='validation pictures (default: %(default)s)')
    parser.add_argument('--crops', type=int, default=1200, help='training crops (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of weights and data order (default: %(default)s)')
    args = parser.parse_args()
    for name in ('pretraining_iters', 'iters', 'train', 'val', 'crops'):
        if getattr(args, name) < 1:
            parser.error(f'--{name.replace("_", "-")} must be at least 1, got {getattr(args, name)}')
    return args


def check_settings(args: argparse.Namespace) -> None:
    """Keep the settings of a demo beside its results, so that results of other settings are never taken for its own.

    Raises:
        ValueError: if the work dir holds a demo with other settings.
    """
    settings = {key: getattr(args, key) for key in ('pretraining_iters', 'iters', 'train', 'val', 'crops', 'seed')}
    settings['data_root'] = str(args.data_root)
    configs = [Config.fromfile(path, import_custom_modules=False).to_dict() for path in (PRETRAINING, DETECTOR)]
    settings['configs'] = hashlib.sha256(json.dumps(configs, sort_keys=True).encode()).hexdigest()[:16]
    path = args.work_dir / 'demo.json'
    old = json.loads(path.read_text(encoding='utf-8')) if path.is_file() else settings
    other = [f'{key} {old.get(key)}, now {value}' for key, value in settings.items() if old.get(key) != value]
    if other:
        raise ValueError(
            f'{args.work_dir} holds a demo with other settings ({"; ".join(other)}): '
            'name another --work-dir, or delete it'
        )
    args.work_dir.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=2) + '\n', encoding='utf-8')


# --- what is done ----------------------------------------------------------------------------------------------------


def plan(args: argparse.Namespace) -> list[Step]:
    """All steps in order."""
    work_dir, backbone = args.work_dir, args.work_dir / BACKBONE
    data = [demo.tool('make_tiny_coco.py'), str(args.data_root)]
    data += [word for name in ('train', 'val', 'crops') for word in (f'--{name}', str(getattr(args, name)))]
    convert = [demo.tool('convert_checkpoint.py'), str(last(work_dir / 'pretraining', args.pretraining_iters))]
    convert += [str(backbone), '--target', 'mmdet']
    return [
        Step('Draw the data set', python(data), None, SECONDS['data'], 'made,|pictures,', r'(\d+)/(\d+) made'),
        pretraining(args),
        Step('Convert the backbone', python(convert), backbone, SECONDS['convert'], 'mapped|missing|written'),
        detector(args, backbone),
        scoring(args),
        painting(args),
    ]


def pretraining(args: argparse.Namespace) -> Step:
    options = schedule(args.pretraining_iters, PRETRAINING_ITERATIONS)
    seconds = SECONDS['start'] + SECONDS['crops'] * args.pretraining_iters
    return training(args, 'Pretrain with ISDA', PRETRAINING, 'pretraining', args.pretraining_iters, options, seconds)


def detector(args: argparse.Namespace, backbone: Path) -> Step:
    options = schedule(args.iters, ITERATIONS) | annotations(args)
    if args.work_dir != WORK_DIR:
        options['model.backbone.init_cfg.checkpoint'] = backbone
    seconds = SECONDS['start'] + SECONDS['pictures'] * args.iters
    return training(args, 'Train a Mask R-CNN from it', DETECTOR, 'detector', args.iters, options, seconds)


def training(
    args: argparse.Namespace, title: str, config: Path, folder: str, iters: int, options: Mapping, seconds: float
) -> Step:
    work_dir = args.work_dir / folder
    options = dict(options)
    if args.data_root != DATA_ROOT:
        options |= {f'{part}_dataloader.dataset.data_root': args.data_root for part in ('train', 'val', 'test')}
    command = [demo.tool('train.py'), str(config), '--work-dir', str(work_dir), '--seed', str(args.seed)]
    command += ['--resume'] if (work_dir / 'last_checkpoint').is_file() else []
    command += ['--cfg-options', *(f'{key}={value}' for key, value in options.items())] if options else []
    shown = r'Iter\(train\)|mAP|accuracy/'
    return Step(title, python(command), last(work_dir, iters), seconds, shown, COUNT, DETAILS)


def schedule(iters: int, usual: int) -> dict[str, int]:
    """The settings of another number of iterations."""
    if iters == usual:
        return {}
    return {
        'train_cfg.max_iters': iters,
        'train_cfg.val_interval': max(1, iters // 3),
        'param_scheduler.0.end': max(1, iters // 10),
        'param_scheduler.1.begin': max(1, iters // 10),
        'param_scheduler.1.end': iters + 1,
    }


def annotations(args: argparse.Namespace) -> dict[str, Path]:
    """The metric reads the truth by itself."""
    if args.data_root == DATA_ROOT:
        return {}
    path = args.data_root / 'annotations' / 'instances_val.json'
    return {f'{part}_evaluator.ann_file': path for part in ('val', 'test')}


def scoring(args: argparse.Namespace) -> Step:
    """By the config that the training left; its own work dir, lest the test's config replaces that."""
    command = [demo.tool('test.py'), *trained(args), '--work-dir', str(args.work_dir / 'detector' / 'test')]
    output = args.work_dir / 'scores.json'
    command += ['--json', str(output)]
    shown = r'Iter\(test\)|Average Precision.*IoU=0.50:0.95 .*area= +all'
    return Step('Score it', python(command), output, SECONDS['score'], shown, COUNT, DETAILS)


def painting(args: argparse.Namespace) -> Step:
    output = args.work_dir / 'detections.jpg'
    command = [demo.tool('show_detections.py'), *trained(args), '--out', str(output)]
    return Step('Paint what it finds', python(command), output, SECONDS['paint'], 'painted')


def trained(args: argparse.Namespace) -> list[str]:
    folder = args.work_dir / 'detector'
    return [str(folder / DETECTOR.name), str(last(folder, args.iters))]


def last(folder: Path, iters: int) -> Path:
    return folder / f'iter_{iters}.pth'


if __name__ == '__main__':
    sys.exit(main())
