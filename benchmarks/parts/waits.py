"""How often an iteration makes the host wait for the device."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from unittest import mock

import criterion
import head_cost
import torch
import train_step
from measure import Call

from tests.waits import host_waits

from . import NOT_TRIED, Report, Settings, Verdict, judged

CLAIMS = {
    'waits criterion': 'The host never waits from the classifier on, but for low-rank covariances.',
    'waits low rank': 'With low-rank covariances it waits for the labels, a check and each decomposition: 3 times.',
    'waits toolkits': 'In a head of MMSegmentation or MMPretrain they add but a look at the labels of the last call.',
    'waits iteration': 'In a whole iteration they add none but what ISDAHook reads once it is over: twice a head.',
}
WAITS_OF_LOW_RANK = 3
READS_OF_HOOK = 2  # a bad label; shift, margin and the batches skipped


def count(call: Call, device: str) -> Counter[str]:
    """Return the places where a call waits and how often, after a call to warm up.

    On the CPU, where nothing waits, the way of an accelerator is taken, and what would wait there is counted.
    """
    if device == 'cpu':
        with mock.patch('mmseg_isda.core.devices.waits', return_value=True):
            call()
            with host_waits() as seen:
                call()
        return seen
    call()
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        torch.cuda.set_sync_debug_mode('warn')
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode('default')
    syncs = [warning for warning in caught if 'synchronizing' in str(warning.message)]
    return Counter(f'{"/".join(warning.filename.split("/")[-3:])}:{warning.lineno}' for warning in syncs)


def _cases(quick: bool) -> Iterator[tuple[str, str, str, Callable[[str, str, str], Call]]]:
    """Yield kind of table, case, variant and what makes the call; how often it waits does not depend on sizes."""
    for case in ('N2C5A8', 'N9C5A8-vectors') if quick else ('N2C19', 'N64C1000A2048-vectors'):
        for variant in criterion.variants(case):
            yield 'criterion', case, variant, criterion.step
    wanted = ('cross entropy', 'ISDA', 'ISDA, fused head', 'ISDA full', 'ISDA, diagonal', 'ISDA, full')
    toolkits = {
        'mmseg': ('N2C5A8' if quick else 'N2C19', 'pspnet_r18-2x64'),
        'mmpretrain': ('resnet32-8', 'resnet32-8'),
    }
    for package, cases in toolkits.items():
        if not find_spec(package):
            continue
        for kind, benchmark, case in zip(('head', 'step'), (head_cost, train_step), cases, strict=True):
            for variant in benchmark.BENCHMARK.variants(case):
                if variant in wanted:
                    yield kind, case, variant, benchmark.BENCHMARK.step


def run(settings: Settings) -> Report:
    """Count the waits of every loss."""
    figures: dict[str, dict[str, dict[str, int]]] = {}
    print(f'\n{"":32} {"":24} waits  where')
    for kind, case, variant, step in _cases(settings.quick):
        seen = count(step(case, variant, settings.device), settings.device)
        figures.setdefault(f'{kind} {case}', {})[variant] = dict(seen)
        places = ', '.join(f'{number} x {place}' for place, number in seen.most_common(4))
        print(f'{kind + " " + case:32} {variant:24} {seen.total():5}  {places}', flush=True)
    verdicts = _verdicts(figures)
    if settings.device == 'cpu':
        why = 'on the CPU, what the host works out by itself cannot be told apart'
        verdicts['waits low rank'] = Verdict(NOT_TRIED, why)
    return Report(verdicts, figures)


def _verdicts(figures: dict) -> dict[str, Verdict]:
    totals = {name: {variant: sum(seen.values()) for variant, seen in rows.items()} for name, rows in figures.items()}

    def added(kind: str, allowed: int) -> Verdict:
        """Compare all but low rank, in a kind of table, with cross entropy."""
        found = {
            f'{name}, {variant}': number - rows['cross entropy']
            for name, rows in totals.items()
            for variant, number in rows.items()
            if name.startswith(kind) and 'low rank' not in variant
        }
        if not found:
            return Verdict(NOT_TRIED, 'neither MMSegmentation nor MMPretrain is installed')
        worst = max(found, key=found.get)
        return judged(found[worst] <= allowed, f'{len(found)} cases; {worst}: {found[worst]} beyond cross entropy')

    low_rank = next(rows['ISDA, low rank'] for name, rows in totals.items() if name.endswith('-vectors'))
    return {
        'waits criterion': added('criterion', 0),
        'waits low rank': judged(low_rank <= WAITS_OF_LOW_RANK, f'{low_rank} times for one image a class'),
        'waits toolkits': added('head', 1),
        'waits iteration': added('step', 2 * READS_OF_HOOK),
    }
