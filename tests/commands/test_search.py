"""The search for lambda_0, on a model of no toolkit."""

import json
import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS
from torch import nn
from torch.utils.data import Dataset

from mmseg_isda.commands.search import Trial, best_lambda, search_lambda, summarize
from mmseg_isda.engine import ISDALossBase, search
from mmseg_isda.errors import OptionError


@MODELS.register_module(force=True)
class SearchedLoss(ISDALossBase):
    def __init__(self, lambda_0=1.0):
        super().__init__(lambda_0=lambda_0, covariance='full', schedule='iter', sync=False, classifier='fc')

    def forward(self, logits, labels):
        if self.augments:
            self._update(self._take_features(logits).features, labels, -100)
            logits = logits + self._shift()[labels]
        return nn.functional.cross_entropy(logits, labels)


@MODELS.register_module(force=True)
class SearchedModel(BaseModel):
    def __init__(self, loss):
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.loss_module = MODELS.build(loss)

    def forward(self, features, label, mode='tensor'):
        logits = self.fc(features)
        return dict(loss=self.loss_module(logits, label)) if mode == 'loss' else list(logits)


@DATASETS.register_module(force=True)
class SearchedData(Dataset):
    def __init__(self, length=12, pipeline=()):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        return dict(features=torch.randn(4, generator=generator) + index % 3, label=torch.tensor(index % 3))


@METRICS.register_module(force=True)
class MeanLogit(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += [float(logits.mean()) for logits in data_samples]

    def compute_metrics(self, results):
        return dict(score=sum(results) / len(results))


@HOOKS.register_module(force=True)
class BreakDown(Hook):
    """Ends the process, as it were, at a given iteration of the run with a given lambda_0."""

    at = None
    seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        BreakDown.seen.append((runner.model.loss_module.lambda_0, runner.iter))
        if (runner.model.loss_module.lambda_0, runner.iter) == BreakDown.at:
            BreakDown.at = None
            raise KeyboardInterrupt


def loader(length):
    return dict(
        batch_size=4,
        num_workers=0,
        dataset=dict(type='SearchedData', length=length),
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
    )


def write_config(path: Path, **changes) -> Path:
    settings = dict(
        default_scope='mmengine',
        model=dict(type='SearchedModel', loss=dict(type='SearchedLoss')),
        train_dataloader=loader(12),
        val_dataloader=loader(5),
        val_cfg=dict(),
        val_evaluator=dict(type='MeanLogit'),
        train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        custom_hooks=[dict(type='BreakDown')],
        log_level='ERROR',
    )
    Config(settings | changes).dump(str(path))
    return path


@pytest.fixture
def config(tmp_path) -> Path:
    return write_config(tmp_path / 'config.py')


def run(config, work_dir, lambdas=(0.5, 2.0), **options):
    lines = []
    result = search_lambda(
        config, work_dir=work_dir, lambdas=lambdas, say=lines.append, **{'metric': 'score', **options}
    )
    return result, lines


def scores(result):
    return {(trial.lambda_0, trial.seed): trial.score for trial in result.trials}


def weights(work_dir, lambda_0, seed=0):
    path = work_dir / f'lambda_{lambda_0:g}' / f'seed_{seed}' / 'epoch_3.pth'
    return torch.load(path, weights_only=False)['state_dict']


def test_each_value_and_seed_is_trained_with_its_own_settings(config, tmp_path):
    """Guards runs that share a seed, a lambda or a logger."""
    work_dir = tmp_path / 'search'
    result, lines = run(config, work_dir, seeds=(0, 3), lambdas=(0.5, 2))
    assert len({float(weights(work_dir, v, s)['fc.weight'].square().sum()) for v in (0.5, 2) for s in (0, 3)}) == 4
    found = scores(result)
    assert list(found) == [(0.5, 0), (2.0, 0), (0.5, 3), (2.0, 3)] and found[0.5, 0] != found[0.5, 3]
    means = {v: (found[v, 0] + found[v, 3]) / 2 for v in (0.5, 2.0)}
    assert result.best == max(means, key=means.get)
    assert f'{means[result.best]:.4f}' in result.table and '<- best' in result.table
    assert lines[0].startswith('[1 of 4] lambda_0=0.5, seed 0') and 'min left' in lines[2]
    record = json.loads(result.files[0].read_text())
    assert record['best'] == result.best and len(record['runs']) == 4
    assert result.files[1].read_bytes().startswith(b'\x89PNG')


def test_the_score_is_that_of_the_validation(config, tmp_path):
    """Against the weights on disk, read and applied by hand; --last takes the mean."""
    result, _ = run(config, tmp_path / 'search', lambdas=(0.5,), last=2)
    data, expected = SearchedData(5), []
    for epoch in (2, 3):
        state = torch.load(tmp_path / f'search/lambda_0.5/seed_0/epoch_{epoch}.pth', weights_only=False)['state_dict']
        logits = [state['fc.weight'] @ data[i]['features'] + state['fc.bias'] for i in range(5)]
        expected.append(torch.stack(logits).mean().item())
    assert result.trials[0].score == pytest.approx(sum(expected) / 2, rel=1e-5)


def test_what_is_over_is_not_repeated_and_values_can_be_added(config, tmp_path, monkeypatch):
    first, _ = run(config, tmp_path / 'search')
    trained, original = [], search._train
    monkeypatch.setattr(search, '_train', lambda cfg, *rest: trained.append(cfg.work_dir) or original(cfg, *rest))
    second, lines = run(config, tmp_path / 'search', lambdas=(2.0, 0.0, 0.5))
    assert [Path(folder).parent.name for folder in trained] == ['lambda_0'] and '  is over already' in lines
    assert scores(first).items() <= scores(second).items()


@pytest.mark.parametrize('iteration', [4, 6])
def test_a_run_that_was_cut_short_is_resumed(config, tmp_path, monkeypatch, iteration):
    """Bit for bit what the unbroken search gives, from the last checkpoint on; the first run is not touched again."""
    whole, _ = run(config, tmp_path / 'whole')
    monkeypatch.setattr(BreakDown, 'at', (2.0, iteration))
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / 'search')
    assert not (tmp_path / 'search/lambda_2/seed_0/result.json').exists()
    monkeypatch.setattr(BreakDown, 'seen', [])
    resumed, _ = run(config, tmp_path / 'search')
    assert BreakDown.seen == [(2.0, i) for i in range(iteration // 3 * 3, 9)]
    assert scores(resumed) == scores(whole)
    expected, got = (weights(tmp_path / name, 2.0) for name in ('whole', 'search'))
    assert all(torch.equal(value, got[name]) for name, value in expected.items())


def test_a_run_that_ended_before_its_result_was_written(config, tmp_path):
    whole, _ = run(config, tmp_path / 'search', lambdas=(0.5,))
    (tmp_path / 'search/lambda_0.5/seed_0/result.json').unlink()
    again, _ = run(config, tmp_path / 'search', lambdas=(0.5,))
    assert scores(again) == scores(whole)


def test_runs_of_another_config_are_not_mixed_in(config, tmp_path):
    """Guards a table of runs that do not compare."""
    run(config, tmp_path / 'search', lambdas=(0.5,))
    with pytest.raises(OptionError, match='run of another config or other options'):
        run(config, tmp_path / 'search', lambdas=(0.5,), options={'optim_wrapper.optimizer.lr': 0.2})
    with pytest.raises(OptionError, match='run of another config or other options'):
        run(config, tmp_path / 'search', lambdas=(0.5,), change=lambda cfg: cfg.train_cfg.update(val_begin=2))


def test_checkpoints_of_somebody_else_are_not_continued(config, tmp_path):
    run(config, tmp_path / 'search', lambdas=(0.5,))
    folder = tmp_path / 'search/lambda_0.5/seed_0'
    for name in ('trial.json', 'result.json'):
        (folder / name).unlink()
    with pytest.raises(OptionError, match='checkpoints that no search has written'):
        run(config, tmp_path / 'search', lambdas=(0.5,))


def test_training_by_iterations(tmp_path):
    """As segmentation trains."""
    loop = dict(by_epoch=False, max_iters=5, val_interval=2)
    config = write_config(
        tmp_path / 'config.py',
        train_cfg=loop,
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2)),
        log_processor=dict(by_epoch=False),
    )
    result, _ = run(config, tmp_path / 'search', lambdas=(0.5,), last=2)
    record = json.loads((result.trials[0].folder / 'result.json').read_text())
    assert list(record['validations']) == ['2', '4', '5']
    last = [record['validations'][step]['score'] for step in ('4', '5')]
    assert result.trials[0].score == pytest.approx(sum(last) / 2)


def test_a_validation_on_the_test_images_is_pointed_out(tmp_path):
    val = loader(5)
    options = dict(val_dataloader=val, test_dataloader=val, test_cfg=dict(), test_evaluator=dict(type='MeanLogit'))
    config = write_config(tmp_path / 'config.py', **options)
    _, lines = run(config, tmp_path / 'search', lambdas=(0.5,))
    assert any('has seen them' in line for line in lines)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(lambdas=()), 'at least one lambda_0'),
        (dict(lambdas=(0.5, -1)), 'lambda_0 must be a number, 0 or more, got -1'),
        (dict(lambdas=(math.nan,)), 'got nan'),
        (dict(lambdas=(0.5, 0.5)), 'lambda_0 0.5 is named twice'),
        (dict(seeds=(1, 1)), 'seed 1 is named twice'),
        (dict(last=0), 'at least 1 validation'),
        (dict(last=4), 'last 4 validations, but there will be 3'),
        (dict(metric='accuracy'), r"no metric 'accuracy'.*are: score"),
    ],
)
def test_nonsense_is_refused(config, tmp_path, options, message):
    with pytest.raises(OptionError, match=message):
        run(config, tmp_path / 'search', **options)


def test_configs_that_cannot_be_searched_are_refused(tmp_path):
    plain = write_config(tmp_path / 'plain.py', model=dict(type='SearchedModel', loss=dict(type='Identity')))
    with pytest.raises(OptionError, match=r'has no ISDA loss.*ISDA twin'):
        run(plain, tmp_path / 'search')
    blind = write_config(tmp_path / 'blind.py', val_dataloader=None, val_cfg=None, val_evaluator=None)
    with pytest.raises(OptionError, match='no val_dataloader'):
        run(blind, tmp_path / 'search')


def trials(*values):
    return [Trial(lambda_0, seed, Path(), score) for lambda_0, seed, score in values]


def test_the_best_value_by_its_mean():
    """Ties go to the weaker augmentation; a value with a run that diverged is out."""
    summary = summarize(trials((1.0, 0, 3.0), (0.5, 0, 2.0), (1.0, 1, 1.0), (0.5, 1, 2.0), (2.0, 0, math.nan)))
    assert summary[1.0] == (2.0, pytest.approx(math.sqrt(2)), 2) and summary[0.5] == (2.0, 0.0, 2)
    assert best_lambda(summary, lower_is_better=False) == 0.5
    summary = summarize(trials((1.0, 0, 3.0), (0.5, 0, 4.0), (2.0, 0, math.nan)))
    assert best_lambda(summary, lower_is_better=False) == 0.5
    assert best_lambda(summary, lower_is_better=True) == 1.0
    with pytest.raises(OptionError, match='diverges'):
        best_lambda(summarize(trials((1.0, 0, math.nan))), lower_is_better=False)
