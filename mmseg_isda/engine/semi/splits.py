"""Which images of a folder keep their labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import OptionError


def split_names(names: Sequence[str], num_labeled: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Draw labeled images.

    Args:
        names: of all images.
        num_labeled: how many keep their labels.
        seed: the same one gives the same images on every machine.

    Returns:
        The labeled and the unlabeled ones, both sorted.

    Raises:
        OptionError: if no image would be labeled, or none unlabeled.
    """
    if not 0 < num_labeled < len(names):
        raise OptionError(f'the labeled images must be 1 to {len(names) - 1} of {len(names)}, got {num_labeled}')
    order = np.random.RandomState(seed).permutation(len(names))
    drawn = [sorted(names)[place] for place in order]
    return sorted(drawn[:num_labeled]), sorted(drawn[num_labeled:])
