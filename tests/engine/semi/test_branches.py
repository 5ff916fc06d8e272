import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import MODELS, TRANSFORMS

from mmseg_isda.engine.semi import MultiBranch, MultiBranchDataPreprocessor
from mmseg_isda.engine.semi.branches import with_branches

FIELD = ['sup', 'unsup_teacher', 'unsup_student']


def pack(results):
    return dict(inputs=results['img'], data_samples=results['name'])


def change(results):
    """A transform that works in place, as most do."""
    results['img'] += 1
    return results


@MODELS.register_module(force=True)
class Doubling(BaseDataPreprocessor):
    """Stacks and doubles; says whether it was called for training."""

    def forward(self, data, training=False):
        data = self.cast_data(data)
        images = data['inputs'] if isinstance(data['inputs'], torch.Tensor) else torch.stack(data['inputs'])
        return dict(inputs=2 * images, data_samples=data['data_samples'], training=training)


def sample(number):
    return dict(img=torch.full((1, 2, 2), float(number)), name=f'image {number}')


def collated():
    labeled = MultiBranch(FIELD, sup=pack)
    unlabeled = MultiBranch(FIELD, unsup_student=[change, pack], unsup_teacher=pack)
    return pseudo_collate([labeled(sample(1)), unlabeled(sample(2)), unlabeled(sample(3))])


def test_branches_do_not_see_each_others_changes():
    """Guards against views that share their arrays: the teacher would get the student's augmentation on top."""
    view = MultiBranch(FIELD, unsup_student=[change, change, pack], unsup_teacher=[change, pack])(sample(5))
    assert view['inputs']['unsup_student'].unique() == 7 and view['inputs']['unsup_teacher'].unique() == 6
    assert view['inputs']['sup'] is None and view['data_samples']['sup'] is None


@pytest.mark.parametrize('stack', [False, True])
def test_each_branch_is_preprocessed_on_its_own(stack):
    """Guards images that land in a branch they have no view for."""
    data = MultiBranchDataPreprocessor(dict(type='Doubling'), stack=stack)(collated(), training=True)
    assert {name: images.flatten(1)[:, 0].tolist() for name, images in data['inputs'].items()} == {
        'sup': [2], 'unsup_teacher': [4, 6], 'unsup_student': [6, 8],
    }  # fmt: skip
    assert data['data_samples']['unsup_student'] == ['image 2', 'image 3']


def test_validation_knows_no_branches():
    """Guards validation, whose data loader yields plain batches."""
    data = pseudo_collate([pack(sample(1))])
    out = MultiBranchDataPreprocessor(dict(type='Doubling'))(data)
    assert out['inputs'].unique() == 2 and not out['training']


def test_a_sample_that_its_pipeline_rejects_is_rejected():
    """Guards the data set's own redraw of samples."""
    assert MultiBranch(FIELD, unsup_student=pack, unsup_teacher=lambda results: None)(sample(1)) is None


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="pipeline 'student' that is not in branch_field"):
        MultiBranch(FIELD, student=pack)
    with pytest.raises(TypeError, match='training data have no branches'):
        MultiBranchDataPreprocessor(dict(type='Doubling'))(pseudo_collate([pack(sample(1))]), training=True)


def test_wrapping_once_is_enough():
    """Guards configs that name MultiBranchDataPreprocessor as MMDetection's do."""
    own = dict(type='MultiBranchDataPreprocessor', data_preprocessor=dict(type='Doubling'))
    for config in (own, dict(type='Doubling'), dict(), None):
        wrapped = with_branches(config, MODELS, 'Doubling')
        assert isinstance(wrapped, MultiBranchDataPreprocessor) and isinstance(wrapped.data_preprocessor, Doubling)


def test_configs_find_them():
    """Guards the registration: any toolkit's registries ask MMEngine's."""
    assert TRANSFORMS.get('MultiBranch') is MultiBranch
    assert MODELS.get('MultiBranchDataPreprocessor') is MultiBranchDataPreprocessor
