"""Statistics of ISDA in a state dict: told from weights of like names, and complete and finite or refused."""

from __future__ import annotations

import pytest
import torch

from mmseg_isda.checkpoints.reading import check_resumable
from mmseg_isda.checkpoints.statistics import check_statistics, find_statistics
from mmseg_isda.errors import CheckpointError

BUFFERS = ('count', 'mean', 'covariance')


def statistics(prefix: str) -> dict[str, torch.Tensor]:
    return {f'{prefix}.statistics.{name}': torch.ones(2) for name in BUFFERS}


def test_low_rank_statistics_are_found_whole():
    """Guards their factors, 131 MB at ImageNet's size."""
    state = statistics('head.loss_module') | {'head.loss_module.statistics.factor': torch.ones(2)}
    assert set(find_statistics(state | {'head.fc.factor': torch.ones(2)})) == set(state)


def test_statistics_are_told_from_weights_of_like_names():
    """A network of the user's may have a buffer named statistics.mean, which must not be lost."""
    ours = (
        statistics('decode_head.loss_decode') | statistics('auxiliary_head.1.loss_decode.0') | statistics('head.loss')
    )
    ours |= statistics('head.loss_module') | statistics('decode_head.loss_decode.losses.0')
    theirs = statistics('backbone') | statistics('decode_head.whitening') | statistics('head.lossless_coder')
    theirs |= {'decode_head.loss_decode.statistics.scale': torch.ones(1), 'head.loss.statistics_mean': torch.ones(1)}
    theirs |= {'decode_head.loss_decode.mean': torch.ones(1), 'statistics.count': torch.ones(1)}
    assert set(find_statistics(ours | theirs)) == set(ours)
    check_statistics(ours | theirs, 'a.pth')


@pytest.mark.parametrize('lost', [('mean',), ('count',), ('covariance',), ('mean', 'count')])
@pytest.mark.parametrize('more', [(), ('factor',)])
def test_half_the_statistics_are_refused(lost, more, tmp_path):
    """Training would go on from means of zero under counts of thousands."""
    state = statistics('decode_head.loss_decode') | statistics('auxiliary_head.loss_decode.1')
    state |= {f'auxiliary_head.loss_decode.1.statistics.{name}': torch.ones(2) for name in more}
    check_statistics(state, 'a.pth')
    for name in lost:
        state.pop(f'auxiliary_head.loss_decode.1.statistics.{name}')
    names = ', '.join(f'auxiliary_head.loss_decode.1.statistics.{name}' for name in BUFFERS if name in lost)
    torch.save(dict(meta={}, message_hub={}, state_dict=state), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=f'a.pth .* lacks {names}$'):
        check_resumable(tmp_path / 'a.pth')


@pytest.mark.parametrize(
    ('name', 'value'),
    [(name, value) for name in (*BUFFERS, 'factor') for value in (torch.nan, torch.inf)] + [('count', -1.0)],
)
def test_statistics_that_are_no_numbers_are_refused(name, value):
    """Every later loss would be NaN."""
    state = statistics('head.loss_module') | {'head.loss_module.statistics.factor': torch.ones(2)}
    state[f'head.loss_module.statistics.{name}'][1] = value
    with pytest.raises(CheckpointError, match=rf'a\.pth: .*loss_module\.statistics\.{name} '):
        check_statistics(state, 'a.pth')
