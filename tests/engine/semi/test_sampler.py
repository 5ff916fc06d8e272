from itertools import islice

import pytest
from torch.utils.data import ConcatDataset, DataLoader

from mmseg_isda.engine.semi import MultiSourceSampler
from mmseg_isda.engine.semi import sampler as module


def sources(*sizes):
    """Data sets whose samples are (source, place)."""
    return ConcatDataset([[(source, place) for place in range(size)] for source, size in enumerate(sizes)])


def batches(sampler, dataset, epoch=0):
    """The batches of an epoch as lists of (source, place)."""
    sampler.set_epoch(epoch)
    indices = list(sampler)
    assert len(indices) == len(sampler)
    size = sampler.batch_size
    return [[dataset[i] for i in indices[start : start + size]] for start in range(0, len(indices), size)]


def stream(sampler, dataset, source, epochs):
    return [
        place
        for epoch in range(epochs)
        for batch in batches(sampler, dataset, epoch)
        for s, place in batch
        if s == source
    ]


@pytest.mark.parametrize('sizes', [(6, 20), (20, 6), (3, 4), (1, 1)])
def test_every_batch_is_complete_and_ordered_by_source(sizes):
    """Guards the share of labels, also where a source has fewer samples than a batch takes of it."""
    dataset = sources(*sizes)
    sampler = MultiSourceSampler(dataset, 8, [1, 3], seed=1)
    for batch in batches(sampler, dataset):
        assert [source for source, _ in batch] == [0, 0, 1, 1, 1, 1, 1, 1]


def test_an_epoch_is_one_pass_over_the_source_that_takes_longest():
    """Guards the end of an epoch: MMDetection's sampler of this name has none."""
    dataset = sources(6, 20)
    sampler = MultiSourceSampler(dataset, 8, [1, 1], seed=1)
    assert len(batches(sampler, dataset)) == 5
    assert sorted(stream(sampler, dataset, 1, 1)) == list(range(20))


def test_streams_go_on_from_epoch_to_epoch():
    """Guards the last incomplete batch: it is filled from the next pass, and that pass then lacks those samples."""
    dataset = sources(6, 21)
    sampler = MultiSourceSampler(dataset, 8, [1, 1], seed=1)  # 6 batches of 4 + 4
    for source, size in ((0, 6), (1, 21)):
        seen = stream(sampler, dataset, source, epochs=7)
        passes = [seen[start : start + size] for start in range(0, len(seen) - size + 1, size)]
        assert all(sorted(one) == list(range(size)) for one in passes)
        assert passes[0] != passes[1]


def test_an_epoch_does_not_depend_on_those_before_it():
    """Guards resuming: a new sampler that is sent to epoch 3 yields what the old one did there."""
    dataset = sources(5, 13)
    old, new = (MultiSourceSampler(dataset, 6, [1, 2], seed=4) for _ in range(2))
    expected = [batches(old, dataset, epoch) for epoch in range(4)]
    assert batches(new, dataset, 3) == expected[3] != expected[2]
    assert batches(MultiSourceSampler(dataset, 6, [1, 2], seed=5), dataset) != expected[0]


@pytest.mark.parametrize('num_batches', [None, 3, 100])
def test_a_resumed_loop_by_iterations_goes_on_in_the_stream(num_batches):
    """Guards the fast way to resume, which skips samples, and epochs that go on from there."""
    dataset = sources(5, 13)
    options = dict(seed=4, num_batches=num_batches)
    sampler = MultiSourceSampler(dataset, 6, [1, 2], **options)
    whole = [index for epoch in range(4) for index in _at(sampler, epoch)]
    sampler = MultiSourceSampler(dataset, 6, [1, 2], **options)
    sampler.skip(2 * 6)
    resumed = [index for epoch in range(3) for index in _at(sampler, epoch)]
    assert resumed == whole[12 : 12 + len(resumed)] and len(resumed) == 3 * 6 * (num_batches or 4)


def _at(sampler, epoch):
    sampler.set_epoch(epoch)
    return iter(sampler)


def test_two_ranks_see_the_batches_of_one(monkeypatch):
    """Guards against ranks that see the same samples."""
    dataset = sources(7, 30)
    whole = MultiSourceSampler(dataset, 16, [1, 3], seed=2)
    ranks = []
    for rank in (0, 1):
        monkeypatch.setattr(module, 'get_dist_info', lambda rank=rank: (rank, 2))
        ranks.append(MultiSourceSampler(dataset, 8, [1, 3], seed=2))
    for epoch in (0, 1):
        joined = zip(*(batches(sampler, dataset, epoch) for sampler in ranks), strict=True)
        assert [sorted(a + b) for a, b in joined] == [sorted(batch) for batch in batches(whole, dataset, epoch)]


def test_a_data_loader_and_no_shuffling():
    """Guards the data loader of the host, which takes batch_size from its own config."""
    dataset = sources(2, 4)
    loader = DataLoader(dataset, 4, sampler=MultiSourceSampler(dataset, 4, [1, 1], shuffle=False), collate_fn=list)
    assert len(loader) == 2
    assert list(loader) == [[(0, 0), (0, 1), (1, 0), (1, 1)], [(0, 0), (0, 1), (1, 2), (1, 3)]]


@pytest.mark.parametrize(
    ('dataset', 'arguments', 'message'),
    [
        ([1, 2], (2, [1, 1]), 'needs a ConcatDataset of its sources, got list'),
        (sources(3, 4), (2, [1]), 'source_ratio must have 2 values'),
        (sources(3, 4), (8, [1, 0]), 'source_ratio must be positive'),
        (sources(3, 4), (2, [1, 1], True, 0, 0), 'num_batches must be at least 1, got 0'),
        (sources(3, 4), (1, [1, 1]), r'gives the sources \[1, 0\] samples of a batch'),
    ],
)
def test_wrong_settings_are_named(dataset, arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        MultiSourceSampler(dataset, *arguments)


def test_rounding_leaves_the_first_source_what_is_left():
    """Guards the rule of MMDetection's sampler."""
    assert MultiSourceSampler(sources(3, 4), 3, [1, 9]).num_per_source == [1, 2]


def test_a_source_without_samples_is_an_error_and_no_endless_loop():
    """Guards the missing unlabeled data: MMDetection's sampler would search for ever."""
    dataset = sources(3, 4)
    dataset.datasets[1], dataset.cumulative_sizes = [], [3, 3]
    with pytest.raises(ValueError, match='source 1 of the ConcatDataset has no samples'):
        list(islice(MultiSourceSampler(dataset, 2, [1, 1]), 10))
