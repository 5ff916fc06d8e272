"""Whole trainings: what is logged, and that a resumed training is the unbroken one."""

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch.utils.data import ConcatDataset, Dataset

from mmseg_isda.engine.semi import MultiBranch
from tests.classification.semi.toy import METHODS, NUM_SAMPLES, config
from tests.classification.toy import ToyImages, runner

FIELD = ['sup', 'unsup_teacher', 'unsup_student']


class Branches(Dataset):
    """Toy images sent to branches; a view is the image, lighter for the teacher."""

    metainfo = ToyImages.metainfo

    def __init__(self, length, *names):
        self.images, self.names = ToyImages(length), names

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        sample = self.images[index]
        sample['data_samples'].set_metainfo(dict(sample_idx=index))

        def lighter(view):
            return dict(view, inputs=view['inputs'] // 2 + 100)

        pipelines = {name: [lighter] if name == 'unsup_teacher' else [dict] for name in self.names}
        return MultiBranch(FIELD, **pipelines)(sample)


class KillError(Exception):
    """The end of a process."""


@HOOKS.register_module(force=True)
class Kill(Hook):
    """Ends a training after some iterations, as a signal would."""

    def __init__(self, after):
        self.after = after

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.after:
            raise KillError


def train(work_dir, method, *, iterations=8, by_epoch=False, kill=None, **options):
    """A training of 8 iterations, or of 4 epochs of 5, with a checkpoint after every fourth iteration or each epoch."""
    sources = ConcatDataset([Branches(9, 'sup'), Branches(NUM_SAMPLES, 'unsup_student', 'unsup_teacher')])
    sources.metainfo = ToyImages.metainfo
    loop = dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=4)
    if by_epoch:
        loop = dict(type='EpochBasedTrainLoop', max_epochs=4)
    hooks = [dict(type='ISDAHook')]
    if method == 'mean-teacher':
        hooks.append(dict(type='MeanTeacherHook', momentum=0.1))
    if kill:
        hooks.append(dict(type='Kill', after=kill))
    settings = dict(
        hooks=hooks,
        train_dataloader=dict(
            batch_size=12,
            num_workers=0,
            collate_fn=dict(type='pseudo_collate'),
            dataset=sources,
            sampler=dict(type='MultiSourceSampler', batch_size=12, source_ratio=[1, 2], seed=3),
        ),
        train_cfg=loop,
        param_scheduler=[dict(type='CosineAnnealingLR', T_max=8, by_epoch=False)],
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', interval=1 if by_epoch else 4, by_epoch=by_epoch),
            logger=dict(type='LoggerHook', interval=1),
        ),
    )
    built = runner(work_dir, config(method, rampup=dict(end=6, by_epoch=False)), **settings | options)
    built.train()
    return built


@pytest.mark.parametrize('by_epoch', [False, True])
@pytest.mark.parametrize('method', METHODS)
def test_a_killed_and_resumed_training_is_the_unbroken_one(method, by_epoch, tmp_path, monkeypatch):
    """Guards the order of samples, the teacher and its running statistics, averages of predictions and statistics.

    Epochs have 5 batches. By iterations it goes on from the fourth, by epochs from the fifth; it is killed later.
    """
    noise = torch.linspace(-1, 1, 3 * 64).sin().view(1, 3, 8, 8)
    monkeypatch.setattr(torch, 'randn_like', lambda x: noise.expand_as(x).clone())  # the host restores no generator
    unbroken = train(tmp_path / 'a', method, by_epoch=by_epoch)
    with pytest.raises(KillError):
        train(tmp_path / 'b', method, by_epoch=by_epoch, kill=7)
    resumed = train(tmp_path / 'b', method, by_epoch=by_epoch, resume=True)
    expected = unbroken.model.state_dict()
    torch.testing.assert_close(dict(resumed.model.state_dict()), dict(expected))
    if method == 'temporal-ensembling':
        visits = 20 * 8 if by_epoch else 8 * 8
        assert expected['method.num_seen'].sum() == visits
    if method == 'mean-teacher':
        torch.testing.assert_close(dict(resumed.model.teacher.state_dict()), dict(unbroken.model.teacher.state_dict()))
        assert not torch.equal(unbroken.model.teacher.head.fc.weight, unbroken.model.head.fc.weight)


def test_every_term_is_logged(tmp_path):
    """Guards the log: the terms as they enter the sum, the ramp, lambda."""
    built = train(tmp_path, 'pi', iterations=2)
    names = set(built.message_hub.log_scalars)
    terms = {'loss', 'sup_loss', 'unsup_loss_isda', 'unsup_loss_consistency', 'unsup_weight', 'head.isda_lambda'}
    assert {f'train/{term}' for term in terms} <= names
    values = {term: built.message_hub.get_scalar(f'train/{term}').current() for term in terms}
    parts = values['sup_loss'] + values['unsup_loss_isda'] + values['unsup_loss_consistency']
    assert values['loss'] == pytest.approx(parts, rel=1e-5)
    assert values['unsup_weight'] == pytest.approx(3 * 2.718281828 ** (-5 * (5 / 6) ** 2), rel=1e-5)


def test_epochs_end_and_validation_asks_the_teacher(tmp_path):
    """Guards training by epochs, 5 batches of 8 of 40 unlabeled images each, and the figure that is reported."""
    built = train(tmp_path, 'mean-teacher', by_epoch=True)
    assert built.iter == 20 and built.epoch == 4
    checkpoint = torch.load(tmp_path / 'epoch_4.pth', weights_only=False)
    torch.testing.assert_close(checkpoint['state_dict']['head.fc.weight'], built.model.teacher.head.fc.weight.detach())
