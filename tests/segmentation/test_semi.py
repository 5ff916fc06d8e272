"""Mean Teacher on unlabeled pixels, with Eq. 15: a small network, its terms and its training."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from torch.utils.data import ConcatDataset, Dataset

from mmseg_isda.core import isda_consistency
from mmseg_isda.engine.semi import MultiBranch
from mmseg_isda.segmentation.semi import _real_pixels
from tests.segmentation import toy

FIELD = ['sup', 'unsup_teacher', 'unsup_student']
CONFIGS = sorted((Path(__file__).parents[2] / 'configs' / 'camvid' / 'semi').glob('*.py'))
PLAIN = dict(type='CrossEntropyLoss')


class Branches(Dataset):
    """Toy scenes sent to branches; the student's view is darker."""

    metainfo = toy.ToyScenes.metainfo

    def __init__(self, first, *names):
        self.scenes, self.names = toy.ToyScenes(8, first=first), names

    def __len__(self):
        return len(self.scenes)

    def __getitem__(self, index):
        def darker(view):
            return dict(view, inputs=view['inputs'] // 2)

        def without_labels(view):
            del view['data_samples'].gt_sem_seg
            return view

        names = {name: [dict if name == 'sup' else without_labels] for name in self.names}
        if 'unsup_student' in names:
            names['unsup_student'].append(darker)
        return MultiBranch(FIELD, **names)(self.scenes[index])


def config(loss=None, **semi_train_cfg):
    eta_1 = 0.0 if loss else 1.0
    settings = toy.model(loss) | dict(
        type='MeanTeacherSegmentor', semi_train_cfg=dict(eta_1=eta_1, eta_2=3.0) | semi_train_cfg
    )
    for name in ('decode_head', 'auxiliary_head'):  # A resumed training draws other masks.
        settings[name] = settings[name] | dict(dropout_ratio=0)
    return ConfigDict(settings)


def student(loss=None, **semi_train_cfg):
    """The network and its teacher, whose classifier differs."""
    network = toy.build(config(loss, **semi_train_cfg))
    teacher = copy.deepcopy(network).requires_grad_(False)
    teacher.decode_head.conv_seg.weight.mul_(1.5)
    network.attach_teacher(teacher)
    return network


def batch(network, size=32):
    """Preprocessed images by branch: two labeled scenes, three unlabeled ones in two views of which one is padded."""
    labeled, unlabeled = toy.ToyScenes(4), toy.ToyScenes(8, size=size, first=50)
    items = [MultiBranch(FIELD, sup=dict)(labeled[i]) for i in range(2)]
    items += [MultiBranch(FIELD, unsup_student=dict, unsup_teacher=dict)(unlabeled[i]) for i in range(3)]
    data = {key: {name: [item[key][name] for item in items] for name in FIELD} for key in ('inputs', 'data_samples')}
    return network.data_preprocessor(data, True)


def test_terms_are_those_of_eq_19_at_the_size_of_the_features():
    """Guards Eq. 15 on pixels: statistics of the decode head's labeled pixels, its classifier, its lambda."""
    network = student(eta_1=0.5)
    passes = []
    network.decode_head.conv_seg.register_forward_hook(lambda module, args, out: passes.append(out))
    data = batch(network)
    losses = network.loss(**data)
    loss, logits = network.decode_head.loss_decode, passes[1]
    assert [tuple(out.shape) for out in passes] == [(2, 4, 4, 4), (3, 4, 4, 4)]
    p = logits.detach().softmax(1)
    expected = isda_consistency(logits, p, loss.tap.weight, loss.statistics, loss.strength)
    torch.testing.assert_close(losses['unsup_loss_isda'], 0.5 * expected)
    with torch.no_grad():
        target = network.teacher.eval().low_logits(data['inputs']['unsup_teacher']).softmax(1)
    torch.testing.assert_close(losses['unsup_loss_consistency'], 3 * (logits.softmax(1) - target).square().mean())
    assert {'sup_decode.loss_isda', 'sup_aux.loss_isda', 'unsup_weight', 'unsup_share'} <= set(losses)
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    assert all(parameter.grad is None for parameter in network.teacher.parameters())
    assert network.decode_head.conv_seg.weight.grad.isfinite().all()


def test_statistics_are_those_of_the_labeled_pixels():
    """Guards Sigma against unlabeled pixels: 2 images of 4x4 features, of which a row is ignored."""
    network = student()
    network.loss(**batch(network))
    assert network.decode_head.loss_decode.statistics.count.sum() == 2 * 4 * 3


def test_pixels_that_were_padded_or_are_uncertain_have_no_loss():
    """Guards the border that the data preprocessor adds to small crops, and the confidence mask."""
    network = student()
    data = batch(network, size=16)
    share = network.loss(**data)['unsup_share']
    assert share == 0.25  # of 32x32 pixels, 16x16 are of the image
    real = _real_pixels(data['inputs']['unsup_student'], data['data_samples']['unsup_student'], (4, 4))
    assert real[0].tolist() == [[1, 1, 0, 0]] * 2 + [[0] * 4] * 2
    network = student(confidence=1.0)
    losses = network.loss(**batch(network))
    assert losses['unsup_share'] == losses['unsup_loss_isda'] == losses['unsup_loss_consistency'] == 0


def test_without_isda_it_is_plain_mean_teacher_and_else_an_error_says_why():
    assert 'unsup_loss_isda' not in student(PLAIN).loss(**batch(student(PLAIN)))
    network = student(PLAIN, eta_1=1.0)
    with pytest.raises(TypeError, match='but the loss is a CrossEntropyLoss'):
        network.loss(**batch(network))
    network = student([PLAIN, dict(type='ISDASegLoss')], eta_1=1.0)  # the ISDA loss of a list is found
    assert network.loss(**batch(network))['unsup_loss_isda'] > 0


def test_validation_is_that_of_the_plain_segmentor_and_so_is_the_checkpoint():
    """Guards deployment: no key of the network is renamed."""
    network = student().eval()
    plain = toy.build(ConfigDict(toy.model(PLAIN))).eval()
    assert not plain.load_state_dict(network.state_dict(), strict=False).missing_keys
    image = [toy.ToyScenes()[0]['inputs']]
    sample = [toy.ToyScenes()[0]['data_samples']]
    got, expected = (net.val_step(dict(inputs=image, data_samples=copy.deepcopy(sample))) for net in (network, plain))
    assert isinstance(got[0].pred_sem_seg, PixelData)
    torch.testing.assert_close(got[0].seg_logits.data, expected[0].seg_logits.data)


def train(work_dir, **options):
    sources = ConcatDataset([Branches(0, 'sup'), Branches(50, 'unsup_student', 'unsup_teacher')])
    sources.metainfo = toy.ToyScenes.metainfo
    sampler = dict(type='MultiSourceSampler', batch_size=4, source_ratio=[1, 1], seed=1)
    loader = dict(batch_size=4, num_workers=0, dataset=sources, sampler=sampler, collate_fn=dict(type='pseudo_collate'))
    hooks = [dict(type='ISDAHook'), dict(type='MeanTeacherHook', momentum=0.1)]
    ramp = dict(rampup=dict(end=4, by_epoch=False))
    built = toy.runner(work_dir, config(**ramp), iters=6, hooks=hooks, train_dataloader=loader, **options)
    built.train()
    return built


def test_a_resumed_training_is_the_unbroken_one(tmp_path):
    """Guards samples, teacher and statistics after an interruption within a pass over the images."""
    unbroken = train(tmp_path / 'a')
    resumed = train(tmp_path / 'bc', load_from=str(tmp_path / 'a' / 'iter_2.pth'), resume=True)
    torch.testing.assert_close(dict(resumed.model.state_dict()), dict(unbroken.model.state_dict()))
    torch.testing.assert_close(dict(resumed.model.teacher.state_dict()), dict(unbroken.model.teacher.state_dict()))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_configs_build_and_name_lists_that_are_disjoint(path):
    """Guards the splits: an eighth and a quarter of the 367 training images, none of them in both lists."""
    cfg = Config.fromfile(path)
    names = [Path(source.ann_file).read_text().split() for source in cfg.train_dataloader.dataset.datasets]
    assert [len(part) for part in names] == ([46, 321] if '_1-8_' in path.stem else [92, 275])
    assert len({*names[0], *names[1]}) == 367
    toy.build(cfg.model)
    assert MODELS.get(cfg.model.type).__name__ == 'MeanTeacherSegmentor'
    twin = '_isda_' in path.stem
    assert (
        (cfg.model.decode_head.loss_decode.type == 'ISDASegLoss')
        == twin
        == (cfg.model.semi_train_cfg.get('eta_1') == 1)
    )
    assert 'mean_teacher' in cfg.default_hooks and cfg.train_dataloader.batch_size == 8
