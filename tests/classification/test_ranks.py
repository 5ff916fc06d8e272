"""Two processes under DDP against one on the joined batch: losses, statistics and gradients of a whole network."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.model import MMDistributedDataParallel

from tests.classification import toy
from tests.processes import run_ranks

# Images 7 and 15 alone hold class 3: rank 0 never sees it.
SHARES = ((0, 1, 3, 6), (7, 2, 15, 5))
KINDS = ('full', 'diagonal', 'shared', 'identity', 'low_rank')


def steps(network, indices) -> dict[str, torch.Tensor]:
    """Losses, gradients and statistics of the second of two steps, with batch norm out of the way."""
    inner = getattr(network, 'module', network)
    inner.backbone.bn.eval()
    for shift in (0, 8):
        network.zero_grad()
        losses = network(**toy.batch(inner, [index + shift for index in indices]), mode='loss')
        losses['loss'].backward()
    results = {'loss': losses['loss'].detach()}
    results |= {f'grad of {name}': parameter.grad for name, parameter in inner.named_parameters()}
    return results | {key: value for key, value in inner.state_dict().items() if '.statistics.' in key}


def network(kind):
    torch.manual_seed(0)
    return toy.build(toy.model(dict(type='ISDALoss', covariance=kind, rank=2)))


def work(rank: int) -> dict[str, dict[str, torch.Tensor]]:
    return {kind: steps(MMDistributedDataParallel(network(kind), device_ids=None), SHARES[rank]) for kind in KINDS}


@pytest.fixture(scope='module')
def results():
    return run_ranks(work)


@pytest.mark.parametrize('kind', KINDS)
def test_two_processes_train_like_one_on_the_joined_batch(results, kind):
    """Guards statistics pooled after the table is made, means of means, and a class that one rank lacks."""
    one = steps(network(kind), SHARES[0] + SHARES[1])
    assert one['head.loss_module.statistics.count'][3] > 0
    for key, expected in one.items():
        ranks = [result[kind][key] for result in results]
        if key == 'loss':
            torch.testing.assert_close(torch.stack(ranks).mean(), expected)
        elif key.endswith('factor'):  # directions are free to turn, what they stand for is not
            assert torch.equal(*ranks)
            torch.testing.assert_close(ranks[0].mT @ ranks[0], expected.mT @ expected, rtol=1e-4, atol=1e-6)
        else:
            torch.testing.assert_close(ranks[0], expected, rtol=1e-4, atol=1e-6, msg=key)
            assert torch.equal(*ranks), key
