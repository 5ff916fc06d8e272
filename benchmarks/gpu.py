"""Tries on a GPU what the documents say of this project, and measures what it costs there.

PyTorch with CUDA is enough; MMSegmentation and MMPretrain each add their losses and networks where they are installed.
Prints tables and one line of verdict for each claim, and writes them to a JSON file to report. Under eight minutes.

    python benchmarks/gpu.py [tests values waits ranks cost] [--minutes 8]
    python benchmarks/gpu.py --device cpu --quick     # tries the parts themselves, at tiny sizes

Exit code: 0 if no claim failed, 1 if one did, 2 without a GPU.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
from importlib import import_module
from types import ModuleType

import torch
from measure import describe, machine, write_json
from parts import FAIL, NOT_TRIED, Report, Settings, Verdict

# name: module. The tables come last and take the time that is left.
PARTS = {'values': 'values', 'waits': 'waits', 'ranks': 'ranks', 'tests': 'suite', 'cost': 'cost'}


def load(part: str) -> ModuleType:
    return import_module(f'parts.{PARTS[part]}')


def say_plan(parts: list[str]) -> None:
    """Print what each part would try."""
    print('This would try on a GPU:')
    for part in parts:
        module = load(part)
        print(f'\n{part}: {module.__doc__.strip().splitlines()[0]}')
        for claim in module.CLAIMS.values():
            print(f'  - {claim}')


def run_part(part: str, settings: Settings) -> Report:
    """Run a part; what ends it early is the verdict of its claims."""
    print(f'\n=== {part}, {settings.seconds_left():.0f} s left', flush=True)
    try:
        return load(part).run(settings)
    except Exception as error:
        traceback.print_exc()
        return Report(dict.fromkeys(load(part).CLAIMS, Verdict(FAIL, f'{type(error).__name__}: {error}')))


def print_verdicts(reports: dict[str, Report]) -> list[str]:
    """Print a line for each claim, and return the outcomes."""
    print('\n=== Verdicts')
    outcomes = []
    for part in PARTS:
        for name, claim in load(part).CLAIMS.items():
            verdict = Verdict(NOT_TRIED, f'the part {part!r} was not asked for')
            if part in reports:
                verdict = reports[part].verdicts.get(name, Verdict(NOT_TRIED, 'the part ended before it'))
            print(f'{verdict.outcome:9} {claim} [{verdict.why}]')
            outcomes.append(verdict.outcome)
    return outcomes


def main() -> int:
    """Run the parts and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0], epilog='Exit code: 0 if no claim failed, 1 if one did, 2 without a GPU.'
    )
    parser.add_argument('parts', nargs='*', metavar='PART', help=f'of {", ".join(PARTS)}; by default all')
    parser.add_argument('--device', choices=('cuda', 'cpu'), default='cuda', help='cpu tries the parts themselves')
    parser.add_argument('--quick', action='store_true', help='tiny sizes')
    parser.add_argument('--minutes', type=float, default=8, help='time after which no table is begun')
    parser.add_argument('--json', default='work_dirs/gpu/report.json', help='where to write the figures')
    options = parser.parse_args()
    unknown = [name for name in options.parts if name not in PARTS]
    if unknown:
        parser.error(f'there is no part {unknown[0]!r}; the parts are {", ".join(PARTS)}')
    parts = [name for name in PARTS if name in options.parts or not options.parts]
    if options.device == 'cuda' and not torch.cuda.is_available():
        say_plan(parts)
        print(
            f'\nNo GPU: PyTorch {torch.__version__} finds no CUDA device here. To try the parts: --device cpu --quick'
        )
        return 2
    logging.disable(logging.WARNING)
    settings = Settings(options.device, options.quick, time.monotonic() + 60 * options.minutes)
    info = machine(options.device)
    print(describe(info))
    reports = {part: run_part(part, settings) for part in parts}
    outcomes = print_verdicts(reports)
    content = {part: report._asdict() for part, report in reports.items()}
    write_json(options.json, {'machine': info, 'quick': options.quick, 'parts': content})
    return 1 if FAIL in outcomes else 0


if __name__ == '__main__':
    sys.exit(main())
