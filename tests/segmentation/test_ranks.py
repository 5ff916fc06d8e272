"""Two processes under DDP against one on the joined batch: losses, statistics and gradients of a whole network."""

from __future__ import annotations

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from torch import nn

from tests.processes import run_ranks
from tests.segmentation import toy

# Scene 3 and 7 alone hold class 3: rank 0 never sees it.
SHARES = ((0, 1), (3, 7))


def step(network, indices) -> dict[str, torch.Tensor]:
    """Losses, gradients and statistics of one step, with batch norm and dropout out of the way."""
    inner = getattr(network, 'module', network)
    for module in inner.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.modules.dropout._DropoutNd):
            module.eval()
    losses = network(**toy.batch(inner, indices), mode='loss')
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    results = {key: value.detach() for key, value in losses.items() if 'loss' in key}
    results |= {f'grad of {name}': parameter.grad for name, parameter in inner.named_parameters()}
    return results | {key: value for key, value in inner.state_dict().items() if '.statistics.' in key}


def network(augment_at):
    torch.manual_seed(0)
    return toy.build(toy.model(dict(type='ISDASegLoss', augment_at=augment_at)))


def work(rank: int) -> dict[str, dict[str, torch.Tensor]]:
    return {
        augment_at: step(MMDistributedDataParallel(network(augment_at), device_ids=None), SHARES[rank])
        for augment_at in ('feature', 'label')
    }


@pytest.fixture(scope='module')
def results():
    return run_ranks(work)


@pytest.mark.parametrize('augment_at', ['feature', 'label'])
def test_two_processes_train_like_one_on_the_joined_batch(results, augment_at):
    """Guards statistics pooled after the table is made, means of means, and a class that one rank lacks."""
    one = step(network(augment_at), SHARES[0] + SHARES[1])
    assert one['decode_head.loss_decode.statistics.count'][3] > 0
    for key, expected in one.items():
        ranks = [result[augment_at][key] for result in results]
        if 'loss_isda' in key:
            torch.testing.assert_close(torch.stack(ranks).mean(), expected)
        else:
            torch.testing.assert_close(ranks[0], expected, rtol=1e-4, atol=1e-6, msg=key)
            assert torch.equal(*ranks), key
