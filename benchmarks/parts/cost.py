"""Time and memory of loss, head and whole training step beside cross entropy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import criterion
import fused_loss
import head_cost
import torch
import train_step
from measure import Benchmark, measure_case

from . import NOT_TRIED, Report, Settings, Verdict, judged

CLAIMS = {
    'step time': 'A training step with diagonal covariances takes at most 8 % longer (5 to 8 % in the paper).',
    'fused memory': 'The fused pass needs at most four fifths of the memory of up-sampling and cross entropy.',
    'no growth': 'The memory of an iteration does not grow during training.',
}
SLOWEST_STEP, MOST_OF_MEMORY = 1.08, 0.8
ITERATIONS = 20
SEGMENTATION = ('cross entropy', 'ISDA', 'ISDA, fused head', 'ISDA at labels', 'ISDA full', 'ISDA low rank')
DIAGONAL = ('ISDA', 'ISDA, diagonal')
NETWORKS = [
    f'{family}_r{depth}-{crop}'
    for depth in (50, 101)
    for crop in ('2x769', '4x512-C150')
    for family in ('pspnet', 'deeplabv3')
]


def tables(quick: bool) -> Iterator[tuple[str, Benchmark, str, tuple[str, ...]]]:
    """Yield kind of table, benchmark, case and variants, the most telling first."""
    sizes = ['N1C5A8'] if quick else ['N2C19', 'N4C150']
    steps: list[str] = []
    if find_spec('mmseg'):
        steps += ['pspnet_r18-2x64'] if quick else NETWORKS
    if find_spec('mmpretrain'):
        steps += ['resnet32-8'] if quick else ['wrn-28-10', 'resnet50']
    for case in sizes:
        yield 'loss', fused_loss.BENCHMARK, case, ()
    vectors = ['N8C5A8-vectors'] if quick else ['N128C100A640-vectors', 'N64C1000A2048-vectors']
    for case in sizes + vectors:
        yield 'criterion', criterion.BENCHMARK, case, ()
    for case in sizes if find_spec('mmseg') else ():
        yield 'head', head_cost.BENCHMARK, case, SEGMENTATION
    for case in steps:
        yield 'step', train_step.BENCHMARK, case, SEGMENTATION if '-' in case and 'wrn' not in case else ()


def grown_mb(device: str, quick: bool) -> float:
    """Return by how many MB the memory in use grows in the later iterations; the CPU does not count it."""
    call = criterion.step('N1C5A8' if quick else 'N2C19', 'ISDA, full', device)
    seen = []
    for _ in range(ITERATIONS):
        call()
        seen.append(torch.cuda.memory_allocated() / 2**20 if device == 'cuda' else 0.0)
    return seen[-1] - seen[len(seen) // 2]


def run(settings: Settings) -> Report:
    """Measure as many tables as time allows."""
    figures: dict[str, dict[str, Any]] = {}
    left_out, longest = {}, 0.0
    runs = 1 if settings.quick else 7
    for kind, benchmark, case, variants in tables(settings.quick):
        begin = time.monotonic()
        if settings.seconds_left() < longest:
            left_out[f'{kind} {case}'] = 'no time left'
            continue
        try:
            rows = measure_case(
                benchmark,
                case,
                variants=variants,
                runs=runs,
                device=settings.device,
                memory=settings.device == 'cuda',
            )
            figures.setdefault(kind, {})[case] = rows
        except torch.cuda.OutOfMemoryError:
            left_out[f'{kind} {case}'] = 'the card has too little memory'
        torch.cuda.empty_cache()
        longest = max(longest, time.monotonic() - begin)
    for name, why in left_out.items():
        print(f'left out: {name}: {why}')
    figures['left out'] = left_out
    if settings.device == 'cpu':
        criterion.step('N1C5A8', 'ISDA, full', 'cpu')()
        return Report(dict.fromkeys(CLAIMS, Verdict(NOT_TRIED, 'a claim about GPUs')), figures)
    growth = grown_mb(settings.device, settings.quick)
    verdicts = {'no growth': judged(growth <= 0.5, f'{growth:.1f} MB in {ITERATIONS // 2} iterations')}
    return Report(verdicts | _verdicts(figures), figures)


def _verdicts(figures: dict[str, dict[str, Any]]) -> dict[str, Verdict]:
    steps = {
        f'{case}: {variant}': row['ratio']['median']
        for case, rows in figures.get('step', {}).items()
        for variant, row in rows.items()
        if variant in DIAGONAL
    }
    memory = {
        f'{case}: {variant}': row['memory_ratio']
        for case, rows in figures.get('loss', {}).items()
        for variant, row in rows.items()
        if variant.startswith('fused')
    }
    verdicts = {}
    for claim, ratios, limit in (('step time', steps, SLOWEST_STEP), ('fused memory', memory, MOST_OF_MEMORY)):
        if ratios:
            worst = max(ratios, key=ratios.get)
            why = f'{len(ratios)} cases; the most is {ratios[worst]:.2f} ({worst})'
            verdicts[claim] = judged(ratios[worst] <= limit, why)
        else:
            verdicts[claim] = Verdict(NOT_TRIED, 'no such table: MMSegmentation and MMPretrain are not installed')
    return verdicts
