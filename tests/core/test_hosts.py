"""ISDACriterion with networks of torchvision, timm and segmentation_models_pytorch, as their users train them."""

import pytest
import torch
import torch.nn.functional as F

from mmseg_isda.core import ISDACriterion


def torchvision_deeplab(models):
    network = models.segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=5)
    return network, network.classifier[4], lambda images: network(images)['out']


def torchvision_resnet(models):
    network = models.resnet18(weights=None, num_classes=5)
    return network, network.fc, network


def timm_mobilenet(timm):
    network = timm.create_model('mobilenetv3_small_050', num_classes=5)
    return network, network.get_classifier(), network


def smp_deeplab(smp):
    network = smp.DeepLabV3('resnet18', encoder_weights=None, classes=5)
    return network, network.segmentation_head[0], network


HOSTS = {
    'torchvision.models': [torchvision_deeplab, torchvision_resnet],
    'timm': [timm_mobilenet],
    'segmentation_models_pytorch': [smp_deeplab],
}


@pytest.mark.parametrize(('package', 'make'), [(package, make) for package, makes in HOSTS.items() for make in makes])
def test_networks_of_other_libraries_train(package, make, device):
    """Guards the tap in each: a step with ISDA changes every parameter, and lambda_0=0 is the library's own loss."""
    network, classifier, run = make(pytest.importorskip(package))
    network.to(device).train()
    criterion = ISDACriterion(classifier, lambda_0=7.5)
    images = torch.randn(4, 3, 64, 64, device=device)
    logits = run(images)
    labels = torch.arange(4, device=device).remainder(2).view(-1, *[1] * (logits.dim() - 2))
    labels = labels.expand(4, *logits.shape[2:]).contiguous()
    loss = criterion(logits, labels, progress=0.5)
    assert criterion.statistics.count.sum() > 0 and criterion.mean_shift >= 0 and loss > F.cross_entropy(logits, labels)
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters() if parameter.grad is not None)
    assert classifier.weight.grad.any()
    torch.testing.assert_close(ISDACriterion(classifier, 0)(logits, labels), F.cross_entropy(logits, labels))


def test_a_classifier_of_three_by_three_pixels_is_refused():
    """segmentation_models_pytorch's Unet ends in one: there is no other module to name."""
    smp = pytest.importorskip('segmentation_models_pytorch')
    network = smp.Unet('resnet18', encoder_weights=None, classes=5)
    with pytest.raises(TypeError, match='Give the head a 1x1 classifier'):
        ISDACriterion(network.segmentation_head[0], lambda_0=1)
