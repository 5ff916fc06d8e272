"""Score a checkpoint; --protocols scores it as Table 7 of the paper does, at three protocols in one run."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config_tree import iter_datasets, set_pipeline, type_name, wrap_for_tta
from ..errors import ExistingPathError, OptionError
from ..toolkits import toolkit_of
from .arguments import add_config_arguments, add_launcher_arguments, export_rank, parse_options
from .outcome import is_first, naming_unknown_types
from .records import write_json

if TYPE_CHECKING:
    import os

    from mmengine.config import Config


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_config_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='folder of logs (default: ./work_dirs/CONFIG)')
    parser.add_argument('--out', metavar='DIR', help='write predicted labels as PNG images (segmentation)')
    parser.add_argument('--show-dir', metavar='DIR', help='write predictions painted over the images')
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument('--tta', action='store_true', help="the config's test-time augmentation")
    mode.add_argument(
        '--protocols',
        action='store_true',
        help='single scale, multi-scale and multi-scale + flip: a table and JSON (segmentation)',
    )
    parser.add_argument(
        '--json', metavar='FILE', help='write the scores (with --protocols always: by default in the work dir)'
    )
    parser.add_argument('--overwrite', action='store_true', help='replace results in --out, --show-dir and --json')
    add_launcher_arguments(parser)


def run(args: Namespace) -> None:
    """Test, print the scores, and write them where that is asked for."""
    from ..checkpoints.fit import check_weights
    from .checked_runner import TestingRunner
    from .launch import build_runner
    from .preflight import check_output

    export_rank(args)
    if args.json:
        check_output(args.json, '--json', replace=args.overwrite, advice=', or give --overwrite')
    cfg, notes = prepare_testing(args, parse_options(args.cfg_options))
    protocols = use_protocols(cfg) if args.protocols else None
    if args.tta:
        use_tta(cfg)
    with naming_unknown_types(cfg):
        runner = build_runner(cfg, notes, TestingRunner)
        check_weights(runner.model, args.checkpoint)
        scores = runner.test()
    if not is_first(args.launcher):
        return
    if protocols:
        print(protocols.score_table(scores))
    if protocols or args.json:
        path = args.json or Path(runner.work_dir, runner.timestamp, 'protocols.json')
        about = dict(config=args.config, checkpoint=args.checkpoint, images=len(runner.test_dataloader.dataset))
        write_scores(path, cfg, 'protocols' if protocols else 'metrics', scores, **about)
        print(f'scores written to {path}')


def prepare_testing(args: Namespace, options: Mapping[str, Any]) -> tuple[Config, list[str]]:
    """Return the config that a runner tests a checkpoint with, checked before building, and the notes for the log."""
    from ..checkpoints.reading import read_checkpoint, seed_of
    from ..files import is_remote
    from .launch import prepare_config
    from .preflight import check_data, check_folder, check_settings, set_subset_seeds

    cfg, notes = prepare_config(args.config, args.work_dir, options, args.launcher)
    if is_remote(args.checkpoint):
        raise OptionError(f'checkpoint {args.checkpoint} must be a local file; download it first')
    trained = seed_of(read_checkpoint(args.checkpoint))
    cfg.load_from, cfg.resume = args.checkpoint, False
    check_settings(cfg, ('model', 'test_dataloader', 'test_evaluator', 'test_cfg'))
    check_data(cfg, ('test_dataloader',))
    set_subset_seeds(cfg, ('test_dataloader',), trained)
    for folder, option, use in ((args.out, '--out', set_out), (args.show_dir, '--show-dir', set_show_dir)):
        if folder:
            refuse_existing(folder, option, args.overwrite)
            use(cfg, folder)
            check_folder(folder, option)
    check_folder(cfg.work_dir, '--work-dir')
    return cfg, notes


def refuse_existing(path: str | os.PathLike, option: str, overwrite: bool) -> None:
    """Raise ExistingPathError if ``path`` is a file, or a folder with something in it, unless ``overwrite``."""
    path = Path(path)
    if not overwrite and (path.is_file() or (path.is_dir() and any(path.iterdir()))):
        raise ExistingPathError(f'{option} {path} already holds results; name another place, or give --overwrite')


def set_out(cfg: Config, folder: str) -> None:
    """Have predicted labels written as PNG images by IoUMetric."""
    evaluator = cfg.get('test_evaluator') or []
    metrics = [evaluator] if isinstance(evaluator, Mapping) else list(evaluator)
    writer = next((metric for metric in metrics if type_name(metric.get('type')) == 'IoUMetric'), None)
    if writer is None:
        names = ', '.join(type_name(metric.get('type')) for metric in metrics) or 'none'
        raise OptionError(f'--out writes labels of segmentation and needs an IoUMetric in test_evaluator, got {names}')
    writer['output_dir'] = folder


def set_show_dir(cfg: Config, folder: str) -> None:
    """Have predictions painted over the images by the toolkit's own visualization hook, added if need be."""
    if not cfg.get('visualizer'):
        raise OptionError(
            '--show-dir needs a visualizer in the config, e.g. visualizer=dict(type="SegLocalVisualizer", '
            'vis_backends=[dict(type="LocalVisBackend")], name="visualizer")'
        )
    toolkit = toolkit_of(cfg)
    if toolkit.show_hook is None:
        raise OptionError(f'--show-dir: there is no hook that paints predictions of a config of {toolkit.title}')
    hooks = dict(cfg.get('default_hooks') or {})
    hooks['visualization'] = {**(hooks.get('visualization') or {}), **toolkit.show_hook}
    if toolkit.show_folder is None:
        cfg.visualizer['save_dir'] = folder
    else:
        hooks['visualization'][toolkit.show_folder] = folder
    cfg.default_hooks = hooks


def use_tta(cfg: Config) -> None:
    """Test with the config's test-time augmentation."""
    if not cfg.get('tta_pipeline'):
        raise OptionError('--tta: the config has no tta_pipeline, which lists the augmented views (TestTimeAug)')
    set_pipeline(cfg, cfg.tta_pipeline)
    wrap_for_tta(cfg)


def use_protocols(cfg: Config) -> Any:
    """Test at the three protocols of the paper; return the module that does."""
    toolkit = toolkit_of(cfg)
    if toolkit.protocols is None:
        raise OptionError(f'--protocols scores segmentation, got a config of {toolkit.title}')
    module = import_module(toolkit.protocols)
    module.use_protocols(cfg)
    return module


def write_scores(path: str | os.PathLike, cfg: Config, kind: str, scores: Mapping, **about: Any) -> None:
    """Write scores as JSON: ``about``, the type of the data set, and the scores under the name ``kind``."""
    _, dataset = next(iter_datasets(cfg.test_dataloader.dataset))
    write_json(Path(path), {**about, 'dataset': type_name(dataset.get('type')), kind: scores})
