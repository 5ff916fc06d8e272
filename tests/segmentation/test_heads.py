"""SlimASPPHead: the sizes that the paper's recipe asks for, and what a user may get wrong."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_isda.segmentation.heads import SlimASPPHead


def _head(**options):
    settings = dict(in_channels=16, channels=24, num_classes=5, branch_channels=8, dilations=(1, 2, 3))
    return SlimASPPHead(norm_cfg=dict(type='BN'), align_corners=True, **{**settings, **options})


def _samples(labels):
    return [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]


def test_the_papers_sizes():
    """Guards against the stock head's widths: branches of 512 and a 3x3 bottleneck of 2560 channels."""
    head = MODELS.build(
        dict(type='SlimASPPHead', in_channels=2048, channels=512, num_classes=19, norm_cfg=dict(type='BN'))
    )
    convolutions = {name: tuple(m.weight.shape) for name, m in head.named_modules() if isinstance(m, nn.Conv2d)}
    assert sorted(convolutions.values()) == sorted(
        [(256, 2048, 1, 1)] * 2 + [(256, 2048, 3, 3)] * 3 + [(512, 1280, 1, 1), (19, 512, 1, 1)]
    )
    dilations = [m.dilation[0] for m in head.branches.modules() if isinstance(m, nn.Conv2d)]
    assert dilations == [1, 12, 24, 36]
    assert all(m.bias is None for m in head.modules() if isinstance(m, nn.Conv2d) and m is not head.conv_seg)


def test_logits_keep_the_size_of_the_chosen_map():
    """Guards `in_index` and the padding of dilated convolutions, at an odd size."""
    head = _head(in_index=1).eval()
    logits = head([torch.zeros(2, 3, 4, 4), torch.randn(2, 16, 7, 9)])
    assert logits.shape == (2, 5, 7, 9)


def test_equals_the_branches_written_out():
    """Guards the order of the branches and the width of the image pool's way back."""
    torch.manual_seed(0)
    head = _head(act_cfg=dict(type='LeakyReLU', negative_slope=0.01), dilations=(1, 2)).eval()
    x = torch.randn(1, 16, 6, 5)

    def layer(module, x):
        scale = module.bn.weight / torch.sqrt(module.bn.running_var + module.bn.eps)
        padding = module.conv.dilation[0] * (module.conv.kernel_size[0] // 2)
        y = nn.functional.conv2d(x, module.conv.weight, padding=padding, dilation=module.conv.dilation)
        y = (y - module.bn.running_mean.view(-1, 1, 1)) * scale.view(-1, 1, 1) + module.bn.bias.view(-1, 1, 1)
        return torch.where(y > 0, y, 0.01 * y)

    pooled = layer(head.image_pool[1], x.mean((2, 3), keepdim=True)).expand(-1, -1, 6, 5)
    features = layer(head.bottleneck, torch.cat([pooled, *(layer(branch, x) for branch in head.branches)], 1))
    expected = torch.einsum('kc,nchw->nkhw', head.conv_seg.weight[..., 0, 0], features)
    expected = expected + head.conv_seg.bias.view(-1, 1, 1)
    torch.testing.assert_close(head([x]), expected, rtol=1e-4, atol=1e-5)


def test_loss_reaches_every_weight():
    """Guards a branch that is made and then left out of the sum."""
    torch.manual_seed(0)
    head = _head()
    losses = head.loss([torch.randn(2, 16, 5, 5)], _samples(torch.randint(0, 5, (2, 33, 33))), None)
    losses['loss_ce'].backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in head.parameters())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(branch_channels=0), 'branch_channels must be at least 1, got 0'),
        (dict(dilations=()), r'dilations must be .* got \(\)'),
        (dict(dilations=(1, 0)), r'dilations must be .* got \(1, 0\)'),
        (dict(in_channels=[8, 8], in_index=[0, 1], input_transform='multiple_select'), 'input_transform'),
    ],
)
def test_mistakes_are_named(options, message):
    """Guards against failures deep inside PyTorch."""
    with pytest.raises(ValueError, match=message):
        SlimASPPHead(**{**dict(in_channels=16, channels=8, num_classes=5), **options})
