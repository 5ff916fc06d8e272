"""Statistics of runs that are paired by their seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """Mean of the scores of a variant, NaN without any, and their sample standard deviation over seeds."""

    mean: float
    std: float | None  # None for fewer than two scores
    runs: int


@dataclass(frozen=True)
class Difference:
    """Mean difference to the baseline over the seeds that both have, with its 95 % interval (Student's t)."""

    mean: float  # positive where the variant scores higher
    std: float | None  # None for a single pair, as are low and high
    low: float | None
    high: float | None
    pairs: int

    @property
    def is_shown(self) -> bool:
        """Whether there is an interval, and zero lies outside."""
        return self.low is not None and not self.low <= 0 <= self.high


def summarize(scores: Sequence[float]) -> Summary:
    """Return mean and spread of scores; one that is not finite makes both NaN."""
    if not scores or not all(map(math.isfinite, scores)):
        return Summary(math.nan, None, len(scores))
    return Summary(statistics.fmean(scores), statistics.stdev(scores) if len(scores) > 1 else None, len(scores))


def paired_difference(scores: Mapping[int, float], baseline: Mapping[int, float]) -> Difference | None:
    """Return the mean difference of scores by seed to a baseline's; ``None`` where no seed has both scores, finite."""
    differences = [scores[seed] - baseline[seed] for seed in scores if seed in baseline]
    differences = list(filter(math.isfinite, differences))
    if not differences:
        return None
    mean, pairs = statistics.fmean(differences), len(differences)
    if pairs == 1:
        return Difference(mean, None, None, None, 1)
    from scipy.stats import t

    std = statistics.stdev(differences)
    half = t.ppf((1 + CONFIDENCE) / 2, pairs - 1) * std / math.sqrt(pairs)
    return Difference(mean, std, mean - half, mean + half, pairs)


def best_of(means: Mapping[str, float], *, lower_is_better: bool = False) -> str | None:
    """Return the name with the best mean, the first of equal ones; ``None`` if no mean is finite."""
    finite = {name: mean for name, mean in means.items() if math.isfinite(mean)}
    pick = min if lower_is_better else max
    return pick(finite, key=finite.__getitem__) if finite else None
