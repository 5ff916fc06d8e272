"""The analyses demo: every figure of the paper's analysis, for a small network of handwritten digits.

    python -m demo.analysis

It trains a ResNet-14 with cross entropy, with ISDA and with explicit augmentation, and a small generator of digits,
runs every analysis, and writes work_dirs/demo_analysis/analysis.html. Where `make demo-classification` has trained its
networks over many seeds, the curves are theirs. Called again, it repeats nothing that is done.
"""

from __future__ import annotations

import base64
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jinja2

from mmseg_isda.commands.records import read_json
from mmseg_isda.files import move_into_place, temporary_beside

from .steps import REPOSITORY, Step, run_demo, run_steps, trained

CONFIGS = REPOSITORY / 'configs'
PLAIN, ISDA = (CONFIGS / 'digits' / f'resnet14_{kind}b64-30e_digits.py' for kind in ('', 'isda_'))
EXPLICIT, WGAN = (CONFIGS / 'analysis' / name for name in ('resnet14_explicit_b64-30e_digits.py', 'wgan_digits.py'))
SEEDS = Path('work_dirs/demo_classification/runs')
EPOCHS = {'wgan': 150}  # of the others 30


@dataclass(frozen=True)
class Section:
    """One analysis on the page.

    Attributes:
        title: in words.
        text: how to read the picture.
        found: the sentence with its numbers.
    """

    title: str
    text: str
    found: Callable[[dict[str, Any]], str]


def _bound(numbers: dict[str, Any]) -> str:
    first, last = numbers['rows'][0], numbers['rows'][-1]
    return (
        f'After epoch {first["at"]} the bound is {first["gap_percent"]:.1f} % too high, at the end '
        f'{last["gap_percent"]:.0f} %, where the loss itself is down to {last["expected"]:.4f}.'
    )


def _features(numbers: dict[str, Any]) -> str:
    plain, isda = (entry['spread_within_over_between'] for entry in numbers['maps'])
    kept = 100 * numbers['maps'][1]['augmented_that_keep_their_class']
    return (
        f'The variance within the classes is {plain:.3f} of that between them with cross entropy and {isda:.3f} with '
        f'ISDA; {kept:.0f} % of the augmented features are still classified as their class.'
    )


def _spectrum(numbers: dict[str, Any]) -> str:
    ranks = [entry['effective_rank'] for entry in numbers['classes'].values()]
    size = len(next(iter(numbers['classes'].values()))['eigenvalues'])
    cheaper = {name: (entry['lambda_0_factor'], entry['error']) for name, entry in numbers['cheaper'].items()}
    factor, errors = cheaper['diagonal']
    low = 100 * sum(cheaper['rank 8'][1]) / len(ranks)
    return (
        f'The effective rank is {min(ranks):.0f} to {max(ranks):.0f} of {size} features. A diagonal needs {factor:.1f} '
        f'times the lambda_0 and is then off by {100 * sum(errors) / len(errors):.0f} %; eight directions are off by '
        f'{low:.1f} %.'
    )


def _directions(numbers: dict[str, Any]) -> str:
    first, random = numbers['moves']['direction 1 +'], numbers['moves']['random direction']
    return (
        f'Along the first direction {100 * first["neighbors_that_stay"]:.0f} % of the neighbors stay and '
        f'{100 * first["same_class"]:.0f} % are of the class; along a random one of that length '
        f'{100 * random["neighbors_that_stay"]:.0f} % stay.'
    )


def _reverse(numbers: dict[str, Any]) -> str:
    second = [error for row in numbers['step_2_feature_error'] for error in row]
    first = numbers['step_1_feature_error']
    return (
        f'Mean error of the features: {100 * sum(first) / len(first):.0f} % after step I, '
        f'{100 * sum(second) / len(second):.0f} % after step II, of the squared distance of two digits of a class.'
    )


def _curves(numbers: dict[str, Any]) -> str:
    ends = []
    for name, curve in numbers['curves'].items():
        spread = f'standard deviation {curve["spread"][-1]:.2f}, {curve["runs"]} runs'
        ends.append(f'{name} {curve["mean"][-1]:.2f} % ({spread if curve["runs"] > 1 else "one run"})')
    return f'At the end: {"; ".join(ends)}.'


def _compare(numbers: dict[str, Any]) -> str:
    scores = numbers['scores']['estimated']
    listed = [f'{entry["mean"]:.2f} % with {count}' for count, entry in scores.items()]
    return f'Error by the number of samples: {", ".join(listed)}. One seed: differences of .2 % are one digit of 500.'


SECTIONS = {
    'bound': Section(
        'Is the bound tight?',
        'ISDA minimizes an upper bound (Eq. 7) of the expected loss of augmented features (Eq. 6), which is estimated '
        'here by 1,000 samples of each (Fig. 9 of the paper). The shaded bands are two standard errors.',
        _bound,
    ),
    'features': Section(
        'What do the features look like?',
        't-SNE maps of the test digits (Fig. 8), with cross entropy on the left and with ISDA on the right. Augmented '
        'copies of a feature are placed on the finished map. Distances between clusters mean nothing on such a map.',
        _features,
    ),
    'spectrum': Section(
        'Which covariance, and how strong?',
        'A steep curve says that few directions hold the variance, so that covariance="low_rank" costs little. The '
        'factor beside each bar is what lambda_0 has to be multiplied by for the same mean shift. Bright rows of the '
        'table are classes that ISDA pushes away hard, bright cells are pairs.',
        _spectrum,
    ),
    'directions': Section(
        'Which directions does ISDA augment along?',
        'A feature is moved along the leading directions of the covariance of its class, by two standard deviations, '
        'and the nearest training digits are shown. Two controls: the feature where it is, and a random direction.',
        _directions,
    ),
    'reverse': Section(
        'What would augmented digits look like?',
        'Step I finds the input of a generator whose digit has the feature of a real one; step II moves on to '
        'augmented features (Figs. 6 and 12 to 14). The real digits nearest to the first one show that it is no copy.',
        _reverse,
    ),
    'curves': Section(
        'How does training go?',
        'Error on the test digits over training (Fig. 5); the band is the standard deviation over seeds.',
        _curves,
    ),
    'compare': Section(
        'Would samples do as well?',
        'Explicit augmentation by M samples of each feature (Eq. 5) against ISDA, which bounds its limit (Fig. 10).',
        _compare,
    ),
}


def plan(work_dir: Path) -> list[Step]:
    """Return all that is to be done, in order."""
    every_third = ['default_hooks.checkpoint.interval=3', 'default_hooks.checkpoint.max_keep_ckpts=-1']
    runs = {
        'plain': (PLAIN, []),
        'isda': (ISDA, every_third),
        'explicit-1': (EXPLICIT, []),
        'explicit-5': (EXPLICIT, ['model.head.loss.num_samples=5']),
        'wgan': (WGAN, []),
    }
    folders = {name: work_dir / name for name in runs}
    steps = [_training(name, folders[name], *settings) for name, settings in runs.items()]
    last = 'epoch_30.pth'
    isda = [ISDA, folders['isda'] / last]
    generator = folders['wgan'] / 'generator.pt'
    seeds = [SEEDS] if any(SEEDS.rglob('vis_data/scalars.json')) else [folders['plain'], folders['isda']]
    words = {
        'bound': [ISDA, folders['isda']],
        'features': [PLAIN, folders['plain'] / last, *isda],
        'spectrum': isda,
        'directions': isda,
        'reverse': [*isda, '--generator', generator, '--preset', 'adam', '--starts', '6', '--eta', '0.05'],
        'curves': [*seeds, '--begin', '5'],
        'compare': [folders[name] for name in runs if name != 'wgan'],
    }
    return steps + [
        Step(
            f'analysis: {what}',
            [REPOSITORY / 'tools' / 'analyze.py', *words[what], what, '--out', work_dir],
            work_dir / f'{what}.json',
        )
        for what in SECTIONS
    ]


def _training(name: str, folder: Path, config: Path, options: Sequence[str]) -> Step:
    epochs = EPOCHS.get(name, 30)
    command = [REPOSITORY / 'tools' / 'train.py', config, '--work-dir', folder, '--seed', '0', '--resume']
    output = folder / ('generator.pt' if name == 'wgan' else f'epoch_{epochs}.pth')
    progress = partial(trained, [folder], output.name, ('epoch', epochs))
    return Step(f'train: {name}', [*command, *(['--cfg-options', *options] if options else [])], output, progress)


def render(work_dir: Path) -> str:
    """Return the page, with every picture in it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    entries = []
    for what, section in SECTIONS.items():
        picture = base64.b64encode((work_dir / f'{what}.png').read_bytes()).decode()
        found = section.found(read_json(work_dir / f'{what}.json'))
        entries.append(dict(what=what, title=section.title, text=section.text, found=found, picture=picture))
    return environment.get_template('analysis.html').render(sections=entries)


def main() -> None:
    parser = ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo_analysis'))
    work_dir = parser.parse_args().work_dir
    run_steps(plan(work_dir), work_dir / 'logs')
    page = work_dir / 'analysis.html'
    with temporary_beside(page) as temporary:
        temporary.write_text(render(work_dir), encoding='utf-8')
        move_into_place(temporary, page, force=True)
    print(f'Open {page} in a browser.')


if __name__ == '__main__':
    sys.exit(run_demo(main))
