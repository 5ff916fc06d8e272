"""Train configs with several settings and seeds, and compare the runs with a baseline, paired by seed.

    mmseg-isda sweep CONFIG --set lambda_0=0,.5,1,2.5 --seeds 0 1 2 3 --jobs 2 --work-dir work_dirs/sweep
    mmseg-isda sweep plain.py isda.py --seeds 0 1 2 --test --work-dir work_dirs/pair

Several --set make a grid. Run the same command again to go on after an interruption or a failure. `{seed}` in an option
is the seed of the run. Values of a name without dots, such as lambda_0, are set in every ISDA loss.
"""

from __future__ import annotations

import math
import os
import queue
import statistics
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from subprocess import Popen
from typing import TYPE_CHECKING, Any

from ..errors import InterruptionError, OptionError, UserError
from . import runs
from .arguments import add_config_arguments
from .comparison import Scoring, choose, compare, draw, table
from .outcome import exit_on_sigterm
from .records import read_json, write_json
from .runs import Outcome, Run, Variant
from .train import add_hold_out_arguments

if TYPE_CHECKING:
    from mmengine.config import Config


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_config_arguments(parser, several=True)
    parser.add_argument(
        '--set',
        action='append',
        default=[],
        metavar='KEY=VALUE,...',
        help='values of a setting to compare; a value with commas of its own stands in brackets',
    )
    parser.add_argument('--baseline', metavar='NAME', help='variant to compare with (default: the first one)')
    add_sweep_arguments(parser)
    parser.set_defaults(name='sweep')


def add_sweep_arguments(parser: ArgumentParser) -> None:
    """Add the arguments that a search has as well."""
    parser.add_argument('--work-dir', required=True, help='folder of the runs and of the results')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0], metavar='N', help='seeds (default: 0)')
    parser.add_argument(
        '--choose-on',
        nargs='+',
        type=int,
        metavar='N',
        help='choose the best variant on these seeds, then report it and the baseline on --seeds',
    )
    images = parser.add_mutually_exclusive_group()
    images.add_argument('--test', action='store_true', help='report the scores of the test images')
    images.add_argument(
        '--protocols',
        action='store_true',
        help='the same at single scale, multi-scale and multi-scale + flip, from the last checkpoint (MMSegmentation)',
    )
    parser.add_argument('--jobs', type=int, default=1, metavar='N', help='trainings side by side (default: 1)')
    parser.add_argument('--processes', type=int, default=1, metavar='N', help='processes of a training (default: 1)')
    parser.add_argument('--metric', help="score (default: the toolkit's usual one, e.g. accuracy/top1, mIoU)")
    parser.add_argument('--lower-is-better', action='store_true', help='the best score is the smallest')
    parser.add_argument(
        '--last', type=int, default=1, metavar='N', help='score: mean over the last N validations (default: 1)'
    )
    add_hold_out_arguments(parser)
    parser.add_argument('--name', help='of the files with the results (default: %(default)s)')


def run(args: Namespace) -> int:
    """Run the sweep; return 1 if a training failed."""
    with exit_on_sigterm():
        comparison = sweep(args)
    print(table(comparison))
    print(f'written: {Path(args.work_dir) / args.name}.json, .md, .png')
    return 1 if any(entry['error'] for entry in comparison['runs']) else 0


def sweep(args: Namespace) -> dict[str, Any]:
    """Train every variant with every seed and write the comparison to ``<name>.json``, ``.md`` and ``.png``.

    The entries of the JSON file:

    - ``metric``, ``lower_is_better``, ``last``; ``scored_on``: ``'validation'`` or ``'test'``; ``interval``: its kind.
    - ``baseline``; ``best``: name of the chosen variant, ``null`` for a single seed.
    - ``choice``: ``best``, the ``seeds`` and the ``means`` (validation score by name) it was chosen by, and
      ``independent``: whether the scores reported had no part in the choice.
    - ``variants``: for each its ``name``, ``config``, ``settings`` (value by key), ``seeds`` and ``scores`` (one each,
      finite ones alone), ``mean``, ``std``, ``runs``, and ``difference`` to the baseline: ``mean``, ``std``, ``low``
      and ``high`` (95 % interval), ``pairs``; ``null`` for the baseline itself.
    - ``protocols``, with ``--protocols``: entries like ``variants`` by name of the protocol; ``variants`` itself is at
      single scale.
    - ``runs``: for each its ``variant``, ``seed``, ``folder``, ``score``, ``validation`` (score), ``seconds`` and
      ``error`` (``null`` unless it failed).
    - ``notes``: sentences that a reader of the numbers must know.
    """
    from .preflight import check_output

    _check_arguments(args)
    data, text, picture = (Path(args.work_dir, f'{args.name}.{suffix}') for suffix in ('json', 'md', 'png'))
    earlier = _earlier(data)
    for path in (data, text, picture):
        check_output(path, '--name', replace=bool(earlier), advice=': this one is no report of a sweep')
    variants = runs.expand_variants(args.config, args.set)
    baseline = args.baseline or variants[0].name
    if baseline not in [variant.name for variant in variants]:
        raise OptionError(f'--baseline {baseline} is none of: {"; ".join(variant.name for variant in variants)}')
    seeds = args.choose_on or args.seeds
    planned, cfg = _plan(variants, sorted({*seeds, *args.seeds}), args)
    lost = sorted(earlier - {(run.variant.name, run.seed) for run in planned})
    if lost:
        named = '; '.join(f'{name}, seed {seed}' for name, seed in lost[:3]) + '; ...' * (len(lost) > 3)
        raise OptionError(f'{data} reports runs that are not in this sweep ({named}): give another --name')
    scoring = _scoring(args, cfg, baseline)
    first = execute([run for run in planned if run.seed in seeds], args, scoring)
    choice, outcomes = choose(first, scoring, separate=bool(args.choose_on)), first
    if args.choose_on:
        kept = {baseline, choice['best']}
        reported = [run for run in planned if run.seed in args.seeds and run.variant.name in kept]
        outcomes = execute(reported, args, scoring)
    others = first if args.choose_on else ()
    comparison = compare(outcomes, choice, scoring, others)
    if args.protocols:
        each = {name: replace(scoring, protocol=name) for name in _protocols(cfg, scoring.metric)}
        comparison['protocols'] = {name: compare(outcomes, choice, own)['variants'] for name, own in each.items()}
    write_json(data, comparison)
    text.write_text(table(comparison) + '\n', encoding='utf-8')
    draw(comparison, picture)
    return comparison


# --- before the first run --------------------------------------------------------------------------------------------


def _earlier(data: Path) -> set[tuple[str, int]]:
    """Return the runs in the report of an earlier sweep; none if the file is no such report."""
    try:
        return {(entry['variant'], entry['seed']) for entry in read_json(data, 'runs', 'variants', 'choice')['runs']}
    except OptionError:
        return set()


def _check_arguments(args: Namespace) -> None:
    from .preflight import MAX_SEED

    if not args.name or Path(args.name).name != args.name or args.name.startswith('.'):
        raise OptionError(f'--name is the name of files in the work dir, without a folder or a dot, got {args.name!r}')
    for option, words in (('--set', args.set), ('--cfg-options', args.cfg_options)):
        if any(word.startswith('randomness.seed=') for word in words):
            raise OptionError(f'{option} randomness.seed: name the seeds of the runs by --seeds')
    for option in ('jobs', 'processes', 'last'):
        if getattr(args, option) < 1:
            raise OptionError(f'--{option} must be at least 1, got {getattr(args, option)}')
    for option, seeds in (('seeds', args.seeds), ('choose-on', args.choose_on or [])):
        for seed in seeds:
            if not 0 <= seed <= MAX_SEED:
                raise OptionError(f'--{option}: a seed is a whole number from 0 to {MAX_SEED}, got {seed}')
            if seeds.count(seed) > 1:
                raise OptionError(f'--{option}: {seed} is named twice')
    shared = sorted({*args.seeds} & {*(args.choose_on or [])})
    if shared:
        raise OptionError(f'--choose-on and --seeds must be disjoint, both have {", ".join(map(str, shared))}')
    if args.choose_on and len(args.choose_on) < 2:
        raise OptionError('--choose-on needs two seeds or more: one says nothing about the spread between runs')


def _plan(variants: Sequence[Variant], seeds: Sequence[int], args: Namespace) -> tuple[list[Run], Config]:
    """Return all runs, each of them checked, seed by seed, and the config of the first."""
    from .resume import check_pretrained

    common = [] if args.hold_out is None else ['--hold-out', str(args.hold_out), '--hold-out-seed', args.hold_out_seed]
    planned, configs = [], []
    for seed in seeds:
        for variant in variants:
            planned.append(runs.plan_run(variant, seed, Path(args.work_dir), common, args.cfg_options))
            configs.append(runs.configure(planned[-1]))
            planned[-1] = replace(planned[-1], mark=runs.fingerprint(configs[-1], args.processes))
            runs.check_folder(planned[-1])
            _check_validation(configs[-1], args)
            _check_losses(configs[-1], variant)
            if seed == seeds[0]:
                check_pretrained(configs[-1])
    _check_toolkits(configs)
    twins: dict[tuple, str] = {}
    for single in planned:
        first = twins.setdefault((single.seed, single.mark), single.variant.name)
        if first != single.variant.name:
            raise OptionError(f'{first} and {single} train the very same config')
    return planned, configs[0]


def _check_validation(cfg: Config, args: Namespace) -> None:
    if not cfg.get('val_dataloader') or not cfg.get('val_evaluator'):
        raise OptionError(f'{cfg.filename} has no val_dataloader and val_evaluator to compare runs by')
    if (args.test or args.protocols) and (not cfg.get('test_dataloader') or not cfg.get('test_evaluator')):
        option = '--test' if args.test else '--protocols'
        raise OptionError(f'{option}: {cfg.filename} has no test_dataloader and test_evaluator')
    loop = cfg.train_cfg
    interval, total = loop.get('val_interval', 1), loop.get('max_epochs') or loop.get('max_iters')
    planned = -(-total // interval) if total else args.last
    if args.last > planned:
        there = f'there will be {planned} (one every {interval} of {total})'
        raise OptionError(f'the score is to be the mean of the last {args.last} validations, but {there}')


def _check_losses(cfg: Config, variant: Variant) -> None:
    """Make the losses of this package, so that a mistake in one shows before any other variant is trained."""
    from .loading import tapped_losses

    for loss, node in tapped_losses(cfg):
        try:
            loss(**{key: value for key, value in node.items() if key not in ('type', '_scope_')})
        except (TypeError, ValueError, UserError) as error:
            raise OptionError(f'{variant.name}: {error}') from error


def _check_toolkits(configs: Sequence[Config]) -> None:
    from ..toolkits import toolkit_of

    titles = sorted({toolkit_of(cfg).title for cfg in configs})
    if len(titles) > 1:
        raise OptionError(f'configs of {" and ".join(titles)} do not compare: name those of one toolkit')


def _scoring(args: Namespace, cfg: Config, baseline: str) -> Scoring:
    from ..toolkits import toolkit_of

    loaders = (cfg.get(name) or {} for name in ('val_dataloader', 'test_dataloader'))
    validated, tested = (_without_pipelines(loader.get('dataset')) for loader in loaders)
    same = validated == tested and args.hold_out is None
    metric = args.metric or toolkit_of(cfg).metric
    if metric is None:
        raise OptionError('--metric: name the metric to compare by, as the validation calls it')
    names = _protocols(cfg, metric) if args.protocols else (None,)
    return Scoring(metric, args.lower_is_better, args.last, args.test or args.protocols, baseline, same, names[0])


def _protocols(cfg: Config, metric: str) -> tuple[str, ...]:
    """Return the names of the protocols of Table 7 if the config can be scored at them."""
    from ..toolkits import toolkit_of

    toolkit = toolkit_of(cfg)
    if toolkit.protocols is None:
        raise OptionError(f'--protocols scores segmentation, got a config of {toolkit.title}')
    module = import_module(toolkit.protocols)
    if metric not in module.MEANS:
        raise OptionError(f'--metric: with --protocols it is one of {", ".join(module.MEANS)}, got {metric}')
    module.protocol_views(cfg)  # raises if they cannot be made
    return tuple(module.TITLES)


def _without_pipelines(node: Any) -> Any:
    """Return a data set's config without what is done to its images; wrappers may choose different parts of one set."""
    if isinstance(node, Mapping):
        return {key: _without_pipelines(value) for key, value in node.items() if key != 'pipeline'}
    return [_without_pipelines(item) for item in node] if isinstance(node, (list, tuple)) else node


# --- the runs --------------------------------------------------------------------------------------------------------


def execute(planned: Sequence[Run], args: Namespace, scoring: Scoring) -> list[Outcome]:
    """Train what is not over yet, ``args.jobs`` runs side by side, and return what came of each run, in their order.

    A run that fails does not stop the others. An interruption stops those that are under way; they can be resumed.
    """
    slots = _slots(args.jobs, args.processes)
    stop, children, outcomes = threading.Event(), [], {}
    with ThreadPoolExecutor(args.jobs) as pool:
        waiting = [pool.submit(_execute, run, args, scoring.metric, slots, children, stop) for run in planned]
        try:
            for future in as_completed(waiting):
                outcome = future.result()
                outcomes[outcome.run.folder] = outcome
                score = outcome.error or f'{scoring.metric} {scoring.reported(outcome):.4f}'
                done, left = f'[{len(outcomes)} of {len(planned)}]', _time_left(outcomes, planned, args)
                print(f'{done} {outcome.run}: {score}{left}', flush=True)
        except BaseException as error:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for child in children:
                child.terminate()
            if isinstance(error, KeyboardInterrupt):
                raise InterruptionError('interrupted; the same command goes on from here') from None
            raise
    return [outcomes[run.folder] for run in planned]


def _execute(
    run: Run, args: Namespace, metric: str, slots: queue.Queue, children: list[Popen], stop: threading.Event
) -> Outcome:
    status, record = 0, runs.read_result(run, tested=args.test)
    scores = runs.read_protocols(run) if args.protocols else None
    environment = slots.get()

    def call(words: Sequence[str]) -> int:
        child = runs.start(run, words, processes=args.processes, environment=environment)
        children.append(child)
        if stop.is_set():  # since the run was taken from the queue
            child.terminate()
        return child.wait()

    try:
        if record is None:
            scores = None
            (run.folder / runs.PROTOCOLS).unlink(missing_ok=True)  # of an earlier training
            status = call(runs.training(run, test=args.test, metric=metric))
            record = runs.read_result(run, tested=args.test) if status == 0 else None
        if record and args.protocols:
            if scores is None:
                status = call(runs.scoring(run))
                scores = runs.read_protocols(run) if status == 0 else None
            record = scores and {**record, 'protocols': scores}
        return Outcome(run, record, None if record else runs.failure(run, status))
    except (UserError, OSError) as error:
        return Outcome(run, None, str(error))
    finally:
        slots.put(environment)


def _slots(jobs: int, processes: int) -> queue.Queue:
    """Return the variables of each job: its GPUs, dealt out in turn, where there are several."""
    import torch

    listed = os.environ.get('CUDA_VISIBLE_DEVICES')
    devices = listed.split(',') if listed else [str(index) for index in range(torch.cuda.device_count())]
    slots: queue.Queue = queue.Queue()
    for job in range(jobs):
        mine = [devices[(job * processes + index) % len(devices)] for index in range(processes)] if devices else []
        slots.put({'CUDA_VISIBLE_DEVICES': ','.join(mine)} if len(devices) > 1 else {})
    return slots


def _time_left(outcomes: Mapping[Path, Outcome], planned: Sequence[Run], args: Namespace) -> str:
    seconds = [outcome.record['seconds'] for outcome in outcomes.values() if outcome.record]
    left = sum(run.folder not in outcomes and runs.read_result(run, tested=args.test) is None for run in planned)
    if not seconds or not left:
        return ''
    hours, minutes = divmod(math.ceil(statistics.fmean(seconds) * left / min(args.jobs, left) / 60), 60)
    return f' (about {hours} h {minutes} min left)' if hours else f' (about {minutes} min left)'
