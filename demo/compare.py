"""What the demos of segmentation and classification share: a sweep over seeds, predictions, and a page on both."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .steps import REPOSITORY, Step, trained

CONFIGS = REPOSITORY / 'demo' / 'configs'
TITLES = ('cross entropy', 'ISDA')


@dataclass(frozen=True)
class Comparison:
    """Two configs that differ in the loss.

    Attributes:
        configs: cross entropy, then ISDA.
        length: setting that tells how long a training is, and the entry of the log that counts it.
        pictures: test images on the page.
        title: heading of the page.
        note: what a reader must know to judge the figures.
    """

    configs: tuple[Path, Path]
    length: tuple[str, str]
    pictures: int
    title: str
    note: str


def make_parser(description: str, *, work_dir: str, seeds: int) -> ArgumentParser:
    """Return the arguments that both demos have."""
    parser = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('--work-dir', type=Path, default=Path(work_dir), help='default: %(default)s')
    what = f'of labeled images, weights and order; each makes a pair of runs (default: 0 to {seeds - 1})'
    parser.add_argument('--seeds', type=int, nargs='+', default=list(range(seeds)), metavar='N', help=what)
    parser.add_argument('--jobs', type=int, default=2, help='trainings side by side (default: %(default)s)')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='settings of both configs')
    return parser


def plan(args: Namespace, comparison: Comparison, options: Sequence[str] = ()) -> list[Step]:
    """Return the steps: train every pair, predict the test images, write the page.

    Each finds out by itself what is done: a run is over when its ``result.json`` is there, whatever checkpoints it has.
    """
    runs, predictions = args.work_dir / 'runs', args.work_dir / 'predictions'
    sweep, page = runs / 'sweep.json', args.work_dir / 'report.html'
    words = ['--seeds', *args.seeds, '--jobs', args.jobs, '--test', '--work-dir', runs]
    settings = [*options, *args.cfg_options]
    words += ['--cfg-options', *settings] if settings else []
    folders = [runs / config.stem / f'seed_{seed}' for config in comparison.configs for seed in args.seeds]
    total = (comparison.length[1], _length(comparison, settings))
    train = ['-m', 'mmseg_isda.commands', 'sweep', *comparison.configs, *words]
    predict = ['-m', 'demo.predict', sweep, predictions, '--pictures', comparison.pictures]
    report = ['-m', 'demo.report', sweep, '--predictions', predictions, '--titles', *TITLES, '--out', page]
    report += ['--title', comparison.title, '--note', comparison.note]
    return [
        Step(f'Train {2 * len(args.seeds)} networks', train, progress=partial(trained, folders, 'result.json', total)),
        Step('Predict the test images', predict),
        Step('Write the page', report),
    ]


def _length(comparison: Comparison, settings: Sequence[str]) -> int:
    from mmengine.config import Config

    from mmseg_isda.config_tree import look_up

    key = comparison.length[0]
    given = dict(word.partition('=')[::2] for word in settings)
    cfg = Config.fromfile(comparison.configs[0], import_custom_modules=False)
    return int(given.get(key) or look_up(cfg.to_dict(), key)[0])
