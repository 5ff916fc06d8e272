"""Nothing of a diagonal covariance may make the host wait for the device.

On an accelerator the host only queues work; a branch on a value, a mask as an index or a count of classes stops it
until the device is done. No machine with a GPU is needed to see that: on PyTorch's ``meta`` device the code takes the
way of an accelerator, and nothing has a value, so that each of these raises.
"""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from mmseg_isda.core import ISDACriterion, new_statistics
from mmseg_isda.core.fused.bands import BandedPass, Settings, Wanted

from ..waits import host_waits

C, A = 5, 8
MAPS, LABELS = (2, A, 4, 4), (2, 16, 16)
UNREADABLE = (RuntimeError, NotImplementedError)


@pytest.fixture(autouse=True)
def on_meta(monkeypatch):
    """Tensors are made on the meta device, which has no autocast."""
    monkeypatch.setattr(torch, 'autocast', lambda *args, **kwargs: nullcontext())
    with torch.device('meta'):
        yield


def step(classifier, features, labels, **options):
    """Return a training step of a criterion; a first one has been made, whose caches the others use."""
    criterion = ISDACriterion(classifier, 0.5, **options)
    features.requires_grad_()

    def call():
        criterion(classifier(features), labels, progress=0.5).backward()

    call()
    return call


def integers(*shape):
    return torch.empty(shape, dtype=torch.int64)


@pytest.mark.parametrize('kind', ['diagonal', 'full', 'shared', 'identity'])
@pytest.mark.parametrize('augment_at', ['feature', 'label'])
def test_no_wait_for_maps(kind, augment_at):
    call = step(nn.Conv2d(A, C, 1), torch.empty(MAPS), integers(*LABELS), covariance=kind, augment_at=augment_at)
    with host_waits() as seen:
        call()
    assert not seen


@pytest.mark.parametrize('kind', ['diagonal', 'full', 'shared', 'identity'])
@pytest.mark.parametrize('images', [2, 9])
def test_no_wait_for_vectors(kind, images):
    """Fewer images than classes take another way to their rows of the table."""
    options = dict(covariance=kind, weight=torch.empty(C), label_smoothing=0.1)
    call = step(nn.Linear(A, C), torch.empty(images, A), integers(images), **options)
    with host_waits() as seen:
        call()
    assert not seen


@pytest.mark.parametrize('at_label', [False, True])
@pytest.mark.parametrize('per_pixel', [False, True])
def test_no_wait_in_the_fused_pass(at_label, per_pixel):
    wanted = Wanted(per_pixel=per_pixel, hits=True, logits_grad=True, shift_grad=True)
    settings = Settings(align_corners=True, at_label=at_label, ignore_index=255, band_bytes=1 << 12)

    logits, labels, shift = torch.empty(2, C, 4, 4), integers(*LABELS), torch.empty(C, C)

    def call():
        BandedPass(logits, labels, shift, None, None, settings, wanted).run()

    with torch.device('cpu'):
        call()  # fills the cache of interpolation matrices, which are made on the CPU
        with host_waits() as seen:
            call()
    assert not seen


@pytest.mark.parametrize('kind', ['low_rank'])
def test_the_meta_device_refuses_what_waits(kind):
    """Guards the tests above: the kinds that read values do not pass them."""
    statistics = new_statistics(kind, C, A)
    with pytest.raises(UNREADABLE):
        statistics.update(torch.empty(MAPS), integers(*MAPS[:1], *MAPS[2:]))


READS = {
    'item': lambda x: x.sum().item(),
    'branch': lambda x: bool(x.sum() > 0),
    'tolist': lambda x: x.tolist(),
    'mask': lambda x: x[x > 0],
    'masked assignment': lambda x: x.__setitem__(x > 0, 0),
    'nonzero': lambda x: x.nonzero(),
    'unique': lambda x: x.unique(),
    'bincount': lambda x: torch.bincount(x),
    'eigh': lambda x: torch.linalg.eigh(torch.eye(2)),
    'copy of a list': lambda x: x.new_tensor([1, 2]),
    'copy to the device': lambda x: x.to('meta'),
}


@pytest.mark.parametrize('name', READS)
def test_what_waits_is_counted(name):
    with torch.device('cpu'), host_waits() as seen:
        READS[name](torch.arange(4))
    assert seen.total() == 1


def test_what_does_not_wait_is_not_counted():
    with torch.device('cpu'), host_waits() as seen:
        x = torch.randn(6, 3, requires_grad=True)
        labels = torch.arange(6) % 3
        nn.functional.cross_entropy(x[labels], labels).backward()
        torch.zeros(3, 3).index_add_(0, labels, x.detach()).sort(stable=True)
        torch.where(x > 0, x, 0).masked_fill(x > 0, 1).sum()
    assert not seen
