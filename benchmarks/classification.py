"""What ISDALoss costs beside CrossEntropyLoss in classification: the head alone, and the whole training step.

The head is all that differs: classifier, statistics, table and loss, forward and backward, at the sizes of the paper's
networks. The step is what MMEngine's runner does in an iteration, from the data preprocessor to the optimizer, with
ISDAHook before and after it, on random images. A peak below 1 MB, too small for the system to show, counts as 1 MB.

    python benchmarks/classification.py [--sizes resnet32 ...] [--networks resnet32 wrn-16-8 ...] [--json FILE]
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import torch
from measure import Row, compare, in_own_process, interleaved, parser_of, peak_memory, progress, run_with_allocators
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

import mmseg_isda.classification  # noqa: F401
from mmseg_isda.engine import ISDAHook, bind_isda_losses

MODEL_CONFIGS = Path(__file__).parents[1] / 'configs' / '_base_' / 'models'
BASE = 'cross entropy'


class Task(NamedTuple):
    """A network of the paper: its base config, classes, features, images in a batch and their size in pixels."""

    config: str
    classes: int
    features: int
    images: int
    pixels: int


TASKS = {
    'resnet32': Task('cifar_resnet32', 10, 64, 128, 32),
    'wrn-16-8': Task('cifar_wrn-16-8', 10, 512, 128, 32),
    'wrn-28-10': Task('cifar_wrn-28-10', 100, 640, 128, 32),
    'resnext29': Task('cifar_resnext29-8x64d', 100, 1024, 128, 32),
    'resnet50': Task('imagenet_resnet50', 1000, 2048, 64, 224),
}


def variants_of(task: Task) -> dict[str, dict]:
    """Losses to compare; a full covariance of ImageNet's size does not fit."""
    kinds = ['diagonal', 'low_rank'] if task.classes == 1000 else ['full', 'diagonal', 'low_rank']
    return {BASE: dict(type='CrossEntropyLoss')} | {
        f'ISDA, {kind}': dict(type='ISDALoss', covariance=kind) for kind in kinds
    }


def device() -> str:
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def touch_statistics(module: torch.nn.Module) -> None:
    """Writes to every buffer: pages that were never written to would count as memory of the first step."""
    for buffer in module.buffers():
        buffer += 0


def samples_of(task: Task) -> list[DataSample]:
    labels = torch.randint(0, task.classes, (task.images,))
    return [DataSample().set_gt_label(label) for label in labels]


def head_step(name: str, variant: str) -> Callable[[], None]:
    """A call that runs a linear head forward and backward once."""
    task = TASKS[name]
    torch.manual_seed(0)
    config = dict(type='LinearClsHead', num_classes=task.classes, in_channels=task.features, init_cfg=None)
    head = MODELS.build(dict(config, loss=variants_of(task)[variant])).to(device()).train()
    for loss in bind_isda_losses(head).values():
        loss.strength = 0.25
    touch_statistics(head)
    features = torch.randn(task.images, task.features, device=device(), requires_grad=True)
    samples = [sample.to(device()) for sample in samples_of(task)]

    def call() -> None:
        head.zero_grad()
        features.grad = None
        head.loss((features,), samples)['loss'].backward()

    return call


def whole_step(name: str, variant: str) -> Callable[[], None]:
    """A call that makes one training step of a network."""
    task = TASKS[name]
    torch.manual_seed(0)
    config = Config.fromfile(MODEL_CONFIGS / f'{task.config}.py').model
    config.head.num_classes, config.head.loss = task.classes, variants_of(task)[variant]
    config.data_preprocessor = dict(mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7], num_classes=task.classes)
    model = MODELS.build(config).to(device()).train()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4))
    runner = SimpleNamespace(model=model, iter=500, max_iters=1000, epoch=0, max_epochs=1, optim_wrapper=wrapper)
    runner.message_hub = MessageHub.get_instance(f'{name} {variant}')
    runner.logger = MMLogger.get_instance(f'{name} {variant}', log_level='WARNING')
    hook = ISDAHook() if 'ISDA' in variant else None
    inputs = [torch.randint(0, 256, (3, task.pixels, task.pixels), dtype=torch.uint8) for _ in range(task.images)]
    samples = samples_of(task)
    if hook:
        hook.before_run(runner)
    touch_statistics(model)

    def call() -> None:
        if hook:
            hook.before_train_iter(runner, 0)
        model.train_step(dict(inputs=list(inputs), data_samples=[sample.clone() for sample in samples]), wrapper)
        if hook:
            hook.after_train_iter(runner, 0)

    return call


STEPS = {'head': head_step, 'step': whole_step}


def measure(parts: dict[str, list[str]], runs: int) -> dict:
    """Prints a table for each head and each network, and returns the figures."""
    jobs = [(part, name) for part, names in parts.items() for name in names]
    results: dict = {part: {} for part in parts}
    begin = time.time()
    for done, (part, name) in enumerate(jobs, 1):
        task = TASKS[name]
        variants = list(variants_of(task))
        peaks = {variant: in_own_process(__file__, '--peak', part, name, variant) for variant in variants}
        # The head alone takes a millisecond or two, so it may run more often.
        calls = {variant: STEPS[part](name, variant) for variant in variants}
        times = interleaved(calls, runs * 10 if part == 'head' else runs, warmup=2 if part == 'head' else 1)
        title = f'{part} of {name}: C={task.classes} A={task.features} N={task.images}'
        rows = {variant: Row(times[variant], max(peaks[variant], 1.0)) for variant in variants}
        results[part][name] = compare(rows, BASE, title, width=48)
        progress(done, len(jobs), begin, 'tables')
    return results


def main() -> None:
    warnings.filterwarnings('ignore')
    parser = parser_of(__doc__)
    parser.add_argument('--sizes', nargs='*', choices=TASKS, default=list(TASKS), help='heads to measure alone')
    parser.add_argument(
        '--networks', nargs='*', choices=TASKS, default=['resnet32', 'wrn-16-8'], help='whole steps to measure'
    )
    parser.add_argument('--peak', nargs=3, metavar=('PART', 'NAME', 'VARIANT'), help='print one peak memory in MB')
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    init_default_scope('mmpretrain')
    if options.peak:
        part, name, variant = options.peak
        print(peak_memory(STEPS[part](name, variant)))
        return
    run_with_allocators(options, lambda: measure({'head': options.sizes, 'step': options.networks}, options.runs))


if __name__ == '__main__':
    main()
