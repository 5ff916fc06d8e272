"""Backbones of the paper's CIFAR experiments (Table 2) that MMPretrain lacks."""

from .cnn13 import CNN13
from .densenet import CIFARDenseNet
from .resnet import CIFARResNet, CIFARResNeXt, CIFARSEResNet
from .shake_shake import ShakeShake
from .wide_resnet import WideResNet

__all__ = ['CNN13', 'CIFARDenseNet', 'CIFARResNeXt', 'CIFARResNet', 'CIFARSEResNet', 'ShakeShake', 'WideResNet']
