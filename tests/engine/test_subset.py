"""Seeded subsets: the right images, the same for a seed, disjoint from the rest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset

from mmseg_isda.engine.subset import SubsetDataset, choose
from mmseg_isda.errors import OptionError


class Numbers(BaseDataset):
    """30 items of 3 classes; counts how often each is read."""

    METAINFO = dict(classes=('a', 'b', 'c'))

    def load_data_list(self) -> list[dict]:
        return [dict(value=index, gt_label=index % 3) for index in range(30)]

    def prepare_data(self, idx: int) -> dict:
        self.reads = getattr(self, 'reads', 0) + 1
        return self.get_data_info(idx)


PINNED = [12, 32, 76, 88, 104, 113, 123, 128, 129, 134]
LABELS = np.random.RandomState(3).permutation(np.repeat(np.arange(5), [40, 30, 30, 25, 25]))


def _values(dataset) -> list[int]:
    return [dataset[index]['value'] for index in range(len(dataset))]


def test_classes_have_equal_shares():
    chosen = choose(np.arange(30) % 3, 10, seed=0)
    assert sorted(np.bincount(chosen % 3)) == [3, 3, 4]


def test_choice_is_the_same_on_every_machine():
    assert choose([0] * 20, 5, seed=1).tolist() == choose(np.zeros(20), 5, seed=1).tolist() == [2, 3, 6, 10, 16]


@pytest.mark.parametrize('num_images', [1, 5, 20, 23, 120])
@pytest.mark.parametrize('seed', [0, 7])
def test_shares_differ_by_one_at_most(num_images, seed):
    counts = np.bincount(LABELS[choose(LABELS, num_images, seed)], minlength=5)
    assert counts.sum() == num_images and counts.max() - counts.min() <= 1


def test_the_choice_depends_on_the_seed_alone():
    """The values pin it for all versions of NumPy: a search that goes on elsewhere must hold the same images out."""
    state = np.random.get_state()[1].copy()
    first, again, other = (choose(LABELS, 10, seed).tolist() for seed in (0, 0, 1))
    assert first == again == PINNED != other
    assert (np.random.get_state()[1] == state).all()  # nobody else's random numbers are used up


def test_parts_are_disjoint_and_together_all():
    parts = [_values(SubsetDataset(Numbers(), 12, part=part, seed=3)) for part in ('chosen', 'rest')]
    assert len(parts[0]) == 12
    assert sorted(parts[0] + parts[1]) == list(range(30))


def test_a_part_shows_its_own_images():
    for part in (SubsetDataset(Numbers(), 12, part=part, seed=3) for part in ('chosen', 'rest')):
        assert _values(part) == part.indices.tolist()
        assert part.get_gt_labels().tolist() == (part.indices % 3).tolist()
        assert part.get_data_info(3)['gt_label'] == part.get_cat_ids(3)[0] == part.indices[3] % 3
        assert part.metainfo['classes'] == ('a', 'b', 'c')


def test_an_image_whose_pipeline_yields_none_is_replaced_by_one_of_the_same_part():
    """Guards the host's own replacement, which draws from the whole data set: held-out images would be trained on."""

    class Thirds(Numbers):
        def prepare_data(self, idx: int) -> dict | None:
            return None if idx % 3 else super().prepare_data(idx)

    class Nothing(Numbers):
        def prepare_data(self, idx: int) -> None:
            return None

    for part in (SubsetDataset(Thirds(), 12, part=part, seed=3) for part in ('chosen', 'rest')):
        assert set(_values(part)) <= set(part.indices.tolist())
    with pytest.raises(RuntimeError, match='yielded None'):
        SubsetDataset(Nothing(), 12, seed=3)[0]


def test_follows_the_seed_of_the_run():
    """Guards against one subset for all seeds, and against one that moves with the random numbers drawn before."""
    torch.manual_seed(5)
    first = _values(SubsetDataset(Numbers(), 12))
    torch.rand(3)
    assert _values(SubsetDataset(Numbers(), 12)) == first == _values(SubsetDataset(Numbers(), 12, seed=5))
    torch.manual_seed(6)
    assert _values(SubsetDataset(Numbers(), 12)) != first


def test_subset_of_a_subset_stays_within_it():
    half = SubsetDataset(Numbers(), 15, seed=0)
    few = SubsetDataset(half, 6, part='rest', seed=1)
    assert set(_values(few)) < set(_values(half))
    assert few.get_gt_labels().tolist() == [value % 3 for value in _values(few)]


def test_images_are_read_once_and_changes_do_not_stick():
    """Guards against a random transform that writes into the kept image."""

    def double(sample: dict) -> dict:
        sample['value'] *= 2
        return sample

    dataset = SubsetDataset(Numbers(), pipeline=[double])
    assert _values(dataset) == _values(dataset) == list(range(0, 60, 2))
    assert dataset.dataset.reads == 30


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_images=30), 'between 1 and 29'),
        (dict(num_images=0), 'between 1 and 29'),
        (dict(num_images=3, part='half'), "'chosen', 'rest', got 'half'"),
    ],
)
def test_refuses_what_does_not_fit(options, message):
    with pytest.raises(OptionError, match=message):
        SubsetDataset(Numbers(), **options)


@pytest.mark.parametrize(('num_images', 'share'), [(8, 4), (4, 2)])
def test_leaves_an_image_of_each_class(num_images, share):
    """Guards a training without one class, where images are held out."""
    with pytest.raises(OptionError, match=f'takes {share} images of class 1, which has 2'):
        choose([0] * 10 + [1] * 2, num_images, seed=0)
