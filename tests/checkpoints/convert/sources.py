"""Source networks with weights and statistics that no two layers share, and what the files of each kind hold."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torchvision
from torch import Tensor, nn

BUILDERS = {
    'resnet18': lambda: torchvision.models.resnet18(num_classes=5),
    'resnet50': lambda: torchvision.models.resnet50(num_classes=5),
    'resnet101': lambda: torchvision.models.resnet101(num_classes=5),
    'resnet152': lambda: torchvision.models.resnet152(num_classes=5),
    'resnext50_32x4d': lambda: torchvision.models.resnext50_32x4d(num_classes=5),
    'resnext101_32x8d': lambda: torchvision.models.resnext101_32x8d(num_classes=5),
    'densenet121': lambda: torchvision.models.densenet121(num_classes=5),
    'densenet169': lambda: torchvision.models.densenet169(num_classes=5),
    'densenet201': lambda: torchvision.models.densenet201(num_classes=5),
    'densenet161': lambda: torchvision.models.densenet161(num_classes=5),
    'densenet265': lambda: torchvision.models.DenseNet(32, (6, 12, 64, 48), 64, num_classes=5),
    'densenet121_stem24': lambda: torchvision.models.DenseNet(32, (6, 12, 24, 16), 24, num_classes=5),
}
NETWORKS = tuple(BUILDERS)


@torch.no_grad()
def source_network(name: str) -> nn.Module:
    """A network of torchvision whose batch norms have statistics of their own, so that a mix-up of two is seen."""
    network = BUILDERS[name]()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # one batch, taken as it is, keeps the features of deep networks finite
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(0, 0.2)
    network.train()(torch.randn(4, 3, 64, 64))
    return network.eval()


@torch.no_grad()
def source_features(network: nn.Module, images: Tensor) -> list[Tensor]:
    """What leaves each of the four stages, taken from torchvision's own forward pass."""
    if hasattr(network, 'layer4'):
        stages = [network.layer1, network.layer2, network.layer3, network.layer4]
    else:
        part = network.features
        stages = [part.transition1, part.transition2, part.transition3, part.norm5]
    outputs: list[Tensor] = []
    hooks = [stage.register_forward_hook(lambda module, inputs, out: outputs.append(out.clone())) for stage in stages]
    network(images)
    for hook in hooks:
        hook.remove()
    if hasattr(network, 'features'):
        outputs[-1] = outputs[-1].relu()  # which MMPretrain counts to its last stage
    return outputs


def as_bare(network: nn.Module) -> dict:
    """A bare state dict, as the authors released, and as torchvision has it."""
    return OrderedDict(network.state_dict())


def as_training_checkpoint(network: nn.Module) -> dict:
    """The authors' own training checkpoint: names of DataParallel, of their DenseNet, and what else training keeps."""
    state = OrderedDict()
    for key, value in network.state_dict().items():
        key = key.replace('features.norm5.', 'features.norm_final.').replace('classifier.', 'fc.')
        state[f'module.{key}'] = value
    return dict(epoch=300, state_dict=state, best_acc1=torch.tensor(78.1), optimizer=dict(state={}, param_groups=[]))


def as_mmpretrain(network: nn.Module, backbone: dict, mmpretrain_models) -> dict:
    """A checkpoint of MMPretrain, with ISDA's statistics and EMAHook's second set of weights.

    The layers are paired by the order in which a forward pass runs them: no name is translated.
    """
    theirs = mmpretrain_models.build(backbone)
    theirs.eval()  # returns None for some
    pairs = zip(_layers_as_run(network), _layers_as_run(theirs), strict=True)
    for layer, own in pairs:
        own.load_state_dict(layer.state_dict())
    state = OrderedDict((f'backbone.{key}', value) for key, value in theirs.state_dict().items())
    classifier = network.classifier if hasattr(network, 'classifier') else network.fc
    state |= {f'head.fc.{key}': value for key, value in classifier.state_dict().items()}
    for name in ('count', 'mean', 'covariance'):
        state[f'head.loss_module.statistics.{name}'] = torch.ones(5)
    ema = {'steps': torch.tensor(3)} | {f'module.{key}': value + 1 for key, value in state.items()}
    meta = dict(epoch=1, dataset_meta=dict(classes=tuple('abcde')))
    return dict(meta=meta, state_dict=state, ema_state_dict=ema, optimizer={}, message_hub={})


@torch.no_grad()
def _layers_as_run(network: nn.Module) -> list[nn.Module]:
    order: list[nn.Module] = []
    layers = [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.BatchNorm2d))]
    hooks = [layer.register_forward_hook(lambda module, inputs, out: order.append(module)) for layer in layers]
    network(torch.zeros(1, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    assert len(order) == len(layers)
    return order
