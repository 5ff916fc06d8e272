"""What a sweep shows of its runs: the comparison as JSON, as a table and as a plot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .arguments import parse_options
from .runs import Outcome, Variant, score_of
from .statistics import Difference, best_of, paired_difference, summarize


@dataclass(frozen=True)
class Scoring:
    """How the runs of a sweep are scored and compared."""

    metric: str
    lower_is_better: bool
    last: int  # a validation score is the mean over this many last validations
    test: bool  # report the scores of the test images; the choice is always by the validation
    baseline: str  # name of the variant that the others are compared with
    same_images: bool  # whether the test images are those of the validation
    protocol: str | None = None  # of the test, where it has several

    def validation(self, outcome: Outcome) -> float:
        """Return the score to choose by; NaN for a run that failed."""
        return score_of(outcome.record, self.metric, last=self.last) if outcome.record else math.nan

    def reported(self, outcome: Outcome) -> float:
        """Return the score to report; NaN for a run that failed."""
        if not self.test or not outcome.record:
            return self.validation(outcome)
        if self.protocol:
            found = outcome.record['protocols'][self.protocol][self.metric]
            return math.nan if found is None else found
        return score_of(outcome.record, self.metric, test=True)


def choose(outcomes: Sequence[Outcome], scoring: Scoring, *, separate: bool) -> dict[str, Any]:
    """Choose the variant with the best mean validation score.

    A variant with a run that failed or diverged is not chosen, and nobody is where there is a single seed, or where
    failures leave a single variant; one whose only rivals diverged has won. ``separate`` says that the seeds are not
    those of the report; the baseline is then no candidate. The result is the entry ``choice`` of the JSON file.
    """
    seeds = sorted({outcome.run.seed for outcome in outcomes})
    scores: dict[str, list[float]] = {}
    for outcome in outcomes:
        score = math.nan if outcome.diverged else scoring.validation(outcome)
        scores.setdefault(outcome.run.variant.name, []).append(score)
    means = {name: summarize(values).mean for name, values in scores.items()}
    candidates = {name: mean for name, mean in means.items() if not (separate and name == scoring.baseline)}
    rivals = means.keys() - {outcome.run.variant.name for outcome in outcomes if outcome.error}
    best = best_of(candidates, lower_is_better=scoring.lower_is_better) if len(seeds) > 1 and len(rivals) > 1 else None
    independent = separate or (scoring.test and not scoring.same_images)
    return {'best': best, 'seeds': seeds, 'means': means, 'independent': independent}


def compare(
    outcomes: Sequence[Outcome], choice: Mapping[str, Any], scoring: Scoring, others: Sequence[Outcome] = ()
) -> dict[str, Any]:
    """Return the comparison, as it is written to ``sweep.json``; :func:`.sweep.sweep` lists its entries.

    ``outcomes`` are reported; ``others`` have a part in the choice alone.
    """
    scores: dict[str, dict[int, float]] = {}
    variants: dict[str, Variant] = {}
    for outcome in outcomes:
        variants[outcome.run.variant.name] = outcome.run.variant
        scores.setdefault(outcome.run.variant.name, {})[outcome.run.seed] = scoring.reported(outcome)
    entries = [_entry(variant, scores[name], scores, scoring.baseline) for name, variant in variants.items()]
    return {
        'metric': scoring.metric,
        'lower_is_better': scoring.lower_is_better,
        'scored_on': 'test' if scoring.test else 'validation',
        'last': scoring.last,
        'interval': "95 % of Student's t over differences paired by seed",
        'baseline': scoring.baseline,
        'best': choice['best'],
        'choice': dict(choice),
        'variants': entries,
        'runs': [_run_entry(outcome, scoring) for outcome in (*others, *outcomes)],
        'notes': [*_notes([*others, *outcomes], choice, scoring), *_doubt(entries, choice, scoring)],
    }


def _entry(variant: Variant, scores: Mapping[int, float], every: Mapping[str, Any], baseline: str) -> dict[str, Any]:
    done = {seed: score for seed, score in scores.items() if math.isfinite(score)}
    difference = paired_difference(scores, every.get(baseline, {})) if variant.name != baseline else None
    return {
        'name': variant.name,
        'config': variant.config,
        'settings': parse_options(f'{key}={text}' for key, text in variant.settings.items()),
        'seeds': list(done),
        'scores': list(done.values()),
        **asdict(summarize(list(done.values()))),
        'difference': difference and asdict(difference),
    }


def _run_entry(outcome: Outcome, scoring: Scoring) -> dict[str, Any]:
    run, record = outcome.run, outcome.record or {}
    return {
        'variant': run.variant.name,
        'seed': run.seed,
        'folder': str(run.folder),
        'score': scoring.reported(outcome),
        'validation': scoring.validation(outcome),
        'seconds': record.get('seconds'),
        'error': outcome.error,
    }


def _notes(outcomes: Sequence[Outcome], choice: Mapping[str, Any], scoring: Scoring) -> list[str]:
    notes = [f'{o.run} failed: {o.error}' for o in outcomes if o.error]
    if notes:
        notes.append('Means are over the runs that did not fail, differences over the seeds that both variants have.')
    diverged = [str(o.run) for o in outcomes if o.record and not math.isfinite(scoring.reported(o))]
    if diverged:
        notes.append(f'No finite score: {"; ".join(diverged)}. The means are over the other seeds.')
    diverged = [str(o.run) for o in outcomes if o.diverged and math.isfinite(scoring.reported(o))]
    if diverged:
        notes.append(f'Diverged, the last training loss being no finite number: {"; ".join(diverged)}.')
    if len(choice['means']) > 1 and len(choice['seeds']) == 1:
        notes.append('One seed says nothing about the spread between runs, so no variant is called the best.')
    if len(choice['means']) <= 2:  # a pair leaves nothing to choose
        return notes
    if choice['best'] is not None and not choice['independent']:
        notes.append(
            f'The best of {len(choice["means"])} was chosen by the images and seeds that are reported, so its lead is '
            f'flattered: choose on other seeds (--choose-on), or report other images (--test).'
        )
    if scoring.same_images:
        notes.append(
            'The config validates on its test images, so what is chosen has seen them. Hold images of the training set '
            'out to choose by (--hold-out N in MMPretrain).'
        )
    return notes


def _doubt(entries: Sequence[Mapping[str, Any]], choice: Mapping[str, Any], scoring: Scoring) -> list[str]:
    """Say so if the lead of the best over the baseline, or of the baseline over the others, is not shown."""
    best, baseline, means = choice['best'], scoring.baseline, choice['means']
    if best is None:
        return []
    rivals = [entry for entry in entries if entry['difference'] and best in (entry['name'], baseline)]
    equal = [entry['name'] for entry in rivals if not Difference(**entry['difference']).is_shown]
    notes = [f'Not shown to differ from the baseline, as 0 lies in the interval: {"; ".join(equal)}.'] if equal else []
    if best_of({best: means[best], baseline: means[baseline]}, lower_is_better=scoring.lower_is_better) != best:
        notes.append(f'Where {best} was chosen, the baseline scored better than it.')
    return notes


# --- table -----------------------------------------------------------------------------------------------------------


def table(comparison: Mapping[str, Any]) -> str:
    """Return the comparison as an aligned Markdown table, with the choice and the notes below it."""
    metric, choice = comparison['metric'], comparison['choice']
    title_of_best = f' ({_title_of_best(choice)})'
    parts = comparison.get('protocols') or {comparison['scored_on']: comparison['variants']}
    lines = []
    for title, entries in parts.items():
        rows = [['variant', f'{metric} ({title})', 'std', 'runs', 'difference', '95 % interval', 'pairs']]
        for entry in entries:
            mark = title_of_best if entry['name'] == comparison['best'] else ''
            mark += ' (baseline)' if entry['name'] == comparison['baseline'] else ''
            cells = [entry['name'] + mark, _number(entry['mean']), _number(entry['std']), str(entry['runs'])]
            rows.append([*cells, *_difference_cells(entry['difference'])])
        lines += [*([''] if lines else []), *_aligned(rows)]
    if choice['best'] is not None and choice['independent']:
        means = ', '.join(f'{name}: {_number(mean)}' for name, mean in choice['means'].items())
        lines += ['', f'Chosen by the validation of seeds {", ".join(map(str, choice["seeds"]))}: {means}.']
    lines += ['', f'Interval: {comparison["interval"]}.', *(f'Note: {note}' for note in comparison['notes'])]
    return '\n'.join(lines)


def _title_of_best(choice: Mapping[str, Any]) -> str:
    return 'chosen' if choice['independent'] else 'best'


def _difference_cells(difference: Mapping[str, Any] | None) -> list[str]:
    if difference is None:
        return ['', '', '']
    interval = '-' if difference['low'] is None else f'{difference["low"]:+.4f} to {difference["high"]:+.4f}'
    return [f'{difference["mean"]:+.4f}', interval, str(difference['pairs'])]


def _number(value: float | None) -> str:
    return '-' if value is None or not math.isfinite(value) else f'{value:.4f}'


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = [[cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))]
             for row in rows]  # fmt: skip
    rule = ['-' * width if i == 0 else '-' * (width - 1) + ':' for i, width in enumerate(widths)]
    return [f'| {" | ".join(row)} |' for row in (cells[0], rule, *cells[1:])]


# --- plot ------------------------------------------------------------------------------------------------------------


def draw(comparison: Mapping[str, Any], path: Path) -> None:
    """Draw the difference of each variant to the baseline with its 95 % interval, as a PNG file.

    Where the variants differ by one number alone, they stand along it, as in Fig. 11 of the paper.
    """
    from matplotlib.figure import Figure

    from ..files import move_into_place, temporary_beside

    entries = [entry for entry in comparison['variants'] if entry['difference']]
    title_of_best = _title_of_best(comparison['choice'])
    places = _numbers(entries)
    figure = Figure(figsize=(max(4.5, 0.9 * len(entries) + 2), 4.2), layout='constrained')
    axes = figure.add_subplot()
    axes.axhline(0, color='grey', linestyle='--', label=f'baseline: {comparison["baseline"]}')
    for place, entry in zip(places or range(len(entries)), entries, strict=True):
        found, is_best = entry['difference'], entry['name'] == comparison['best']
        half = None if found['low'] is None else found['mean'] - found['low']
        axes.errorbar(place, found['mean'], yerr=half, marker='*' if is_best else 'o', markersize=12 if is_best else 6,
                      capsize=4, color='C1' if is_best else 'C0', label=title_of_best if is_best else None)  # fmt: skip
    if not places:
        axes.set_xticks(range(len(entries)), [entry['name'] for entry in entries], rotation=20, ha='right')
    axes.set(
        xlabel=next(iter(entries[0]['settings'])).rpartition('.')[2] if places else '',
        ylabel=f'{comparison["metric"]} - baseline',
    )
    figure.suptitle('Mean difference over seeds, 95 % interval', fontsize='medium')
    axes.grid(alpha=0.3, axis='y')
    figure.legend(loc='outside lower center', frameon=False)  # beside the intervals, not over them
    with temporary_beside(path) as temporary:
        figure.savefig(temporary, format='png', dpi=150)
        move_into_place(temporary, path, force=True)


def _numbers(entries: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the value that tells the variants apart, if it is a single number each."""
    values = [list(entry['settings'].values()) for entry in entries]
    single = all(len(v) == 1 and isinstance(v[0], (int, float)) and not isinstance(v[0], bool) for v in values)
    return [v[0] for v in values] if single and len({entry['config'] for entry in entries}) == 1 else []
