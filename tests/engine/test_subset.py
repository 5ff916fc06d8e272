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


def _values(dataset) -> list[int]:
    return [dataset[index]['value'] for index in range(len(dataset))]


def test_classes_have_equal_shares():
    chosen = choose(np.arange(30) % 3, 10, seed=0)
    assert sorted(np.bincount(chosen % 3)) == [3, 3, 4]


def test_choice_is_the_same_on_every_machine():
    assert choose([0] * 20, 5, seed=1).tolist() == choose(np.zeros(20), 5, seed=1).tolist() == [2, 3, 6, 10, 16]


def test_parts_are_disjoint_and_together_all():
    parts = [_values(SubsetDataset(Numbers(), 12, part=part, seed=3)) for part in ('chosen', 'rest')]
    assert len(parts[0]) == 12
    assert sorted(parts[0] + parts[1]) == list(range(30))


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


def test_refuses_more_of_a_class_than_there_are():
    with pytest.raises(OptionError, match='class 1, which has 2'):
        choose([0] * 10 + [1] * 2, 8, seed=0)
