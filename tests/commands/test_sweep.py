"""The sweep and the search, on a model of no toolkit that trains in this process."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from mmseg_isda.checkpoints.reading import read_checkpoint
from mmseg_isda.commands import runs
from mmseg_isda.commands.__main__ import main
from mmseg_isda.commands.runs import expand_variants
from mmseg_isda.errors import OptionError

from .toy import BreakDown, InProcess, ToyData, loader, write_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_process(monkeypatch):
    monkeypatch.setattr(runs, 'Popen', InProcess)
    monkeypatch.setattr(InProcess, 'commands', [])
    monkeypatch.setattr(BreakDown, 'seen', [])
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)  # it asks compilers for their versions


@pytest.fixture
def config(tmp_path) -> Path:
    return write_config(tmp_path / 'config.py')


@pytest.fixture
def sweep(config, tmp_path, capsys):
    """Runs the command; returns its status, the JSON file if it wrote one, and what it printed.

    ``anew``: without the report of an earlier call.
    """

    def call(*words, name='sweep', of=(config,), command='sweep', metric='score', anew=True):
        file = tmp_path / 'sweep' / f'{name}.json'
        for report in (tmp_path / 'sweep').glob(f'{name}.*') if anew else ():
            report.unlink()
        metrics = ['--metric', metric] if metric else []
        status = main([command, *map(str, of), '--work-dir', str(tmp_path / 'sweep'), *metrics, *words])
        printed = capsys.readouterr()
        return status, json.loads(file.read_text()) if file.exists() else None, printed.out + printed.err

    return call


def fail(error: BaseException) -> None:
    raise error


def scores(result: dict) -> dict:
    return {(run['variant'], run['seed']): run['score'] for run in result['runs']}


def weights(tmp_path, name: str, seed: int = 0, epoch: int = 3) -> dict:
    path = tmp_path / 'sweep' / name / f'seed_{seed}' / f'epoch_{epoch}.pth'
    return read_checkpoint(path)['state_dict']


def mean_logit(state: dict, offset: int) -> float:
    data = ToyData(5, offset)
    return torch.stack([state['fc.weight'] @ data[i]['features'] + state['fc.bias'] for i in range(5)]).mean().item()


# --- what is trained and shown ---------------------------------------------------------------------------------------


def test_each_variant_and_seed_is_trained_with_its_own_settings(sweep, tmp_path):
    """Guards runs that share a seed or a setting, and pairs of different seeds."""
    status, result, text = sweep('--set', 'lambda_0=.5,2', '--seeds', '0', '3')
    assert status == 0
    found = scores(result)
    assert list(found) == [('lambda_0=0.5', 0), ('lambda_0=2', 0), ('lambda_0=0.5', 3), ('lambda_0=2', 3)]
    for (name, seed), score in found.items():
        assert score == pytest.approx(mean_logit(weights(tmp_path, name, seed), 100), rel=1e-5)
    assert len(set(found.values())) == 4
    first, second = result['variants']
    assert (first['settings'], second['settings']) == ({'lambda_0': 0.5}, {'lambda_0': 2})
    expected = [found['lambda_0=2', seed] - found['lambda_0=0.5', seed] for seed in (0, 3)]
    assert second['difference']['mean'] == pytest.approx(sum(expected) / 2) and first['difference'] is None
    assert (result['baseline'], second['seeds'], second['runs']) == ('lambda_0=0.5', [0, 3], 2)
    assert result['best'] == max((first, second), key=lambda entry: entry['mean'])['name']
    assert '[1 of 4] lambda_0=0.5, seed 0: score' in text and 'min left' in text
    assert f'| {second["name"]}' in (tmp_path / 'sweep' / 'sweep.md').read_text()
    assert (tmp_path / 'sweep' / 'sweep.png').read_bytes().startswith(b'\x89PNG')


def test_a_sweep_within_a_task_of_slurm(sweep, monkeypatch):
    """Its trainings took themselves for the fourth process of one, and wrote no record."""
    monkeypatch.setenv('SLURM_PROCID', '3')
    status, result, _ = sweep()
    assert status == 0 and result['runs'][0]['error'] is None


def test_a_grid_of_any_settings_and_several_configs(sweep, config, tmp_path):
    other = write_config(tmp_path / 'other.py', optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.3)))
    words = ['--set', 'train_cfg.max_epochs=1,2', '--set', 'randomness.deterministic=False']
    _, result, _ = sweep(*words, '--baseline', 'other, max_epochs=2, deterministic=False', of=(config, other))
    assert [entry['name'].partition(', d')[0] for entry in result['variants']] == [
        f'{stem}, max_epochs={n}' for stem in ('config', 'other') for n in (1, 2)
    ]
    assert result['variants'][3]['difference'] is None and result['variants'][0]['difference']['pairs'] == 1


def test_the_last_validations_and_the_test_images(sweep, tmp_path):
    """Choice by the mean of the last validations, report by the test images."""
    _, result, text = sweep('--set', 'lambda_0=.5,2', '--seeds', '0', '1', '--last', '2', '--test')
    for run in result['runs']:
        states = [weights(tmp_path, run['variant'], run['seed'], epoch) for epoch in (2, 3)]
        assert run['validation'] == pytest.approx(sum(mean_logit(state, 100) for state in states) / 2, rel=1e-5)
        assert run['score'] == pytest.approx(mean_logit(states[1], 200), rel=1e-5)
    assert result['scored_on'] == 'test' and result['choice']['independent'] and 'flattered' not in text


def test_training_by_iterations(sweep, tmp_path):
    """As segmentation trains."""
    config = write_config(
        tmp_path / 'iterations.py',
        train_cfg=dict(by_epoch=False, max_iters=5, val_interval=2),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2)),
        log_processor=dict(by_epoch=False),
    )
    _, result, _ = sweep('--last', '2', of=(config,))
    record = json.loads((tmp_path / 'sweep/iterations/seed_0/result.json').read_text())
    assert list(record['validations']) == ['2', '4', '5']
    assert result['runs'][0]['score'] == pytest.approx(
        sum(record['validations'][step]['score'] for step in ('4', '5')) / 2
    )


def test_settings_may_depend_on_the_seed(sweep):
    """As other labelled images for every seed do."""
    sweep('--seeds', '0', '7', '--cfg-options', 'train_dataloader.dataset.offset={seed}')
    assert [words[-1] for words in InProcess.commands] == ['score'] * 2
    assert ['train_dataloader.dataset.offset=7' in words for words in InProcess.commands] == [False, True]


def test_the_choice_on_other_seeds(sweep):
    """Only the baseline and the chosen variant are trained with the seeds that are reported."""
    _, result, text = sweep('--set', 'lambda_0=0,.5,4', '--choose-on', '0', '1', '--seeds', '5', '6')
    assert result['choice']['seeds'] == [0, 1] and result['choice']['independent'] and len(InProcess.commands) == 10
    means = result['choice']['means']
    assert (
        result['best'] == max(['lambda_0=0.5', 'lambda_0=4'], key=means.get) and f'{means[result["best"]]:.4f}' in text
    )
    assert [entry['name'] for entry in result['variants']] == ['lambda_0=0', result['best']]
    assert all(entry['seeds'] == [5, 6] for entry in result['variants']) and 'flattered' not in text


def test_what_a_reader_must_know_is_said(sweep, tmp_path):
    """One seed names no best; a choice by the reported scores flatters; validation on the test images."""
    _, result, text = sweep('--set', 'lambda_0=.5,2')
    assert result['best'] is None and 'One seed' in text and '(best)' not in text
    three, pair = ['--set', 'lambda_0=.5,2,4'], ['--set', 'lambda_0=.5,2']
    _, result, text = sweep(*three, '--seeds', '0', '1')
    assert result['best'] and 'flattered' in text and 'has seen them' not in text
    leads = {entry['name']: entry['difference'] for entry in result['variants'] if entry['difference']}
    if result['best'] in leads:
        leads = {result['best']: leads[result['best']]}
    equal = [name for name, lead in leads.items() if lead['low'] <= 0 <= lead['high']]
    assert ('Not shown to differ' in text) == bool(equal) and ('; '.join(equal) in text)
    same = write_config(tmp_path / 'same.py', test_dataloader=loader(5, 100))
    elsewhere = ['--work-dir', str(tmp_path / 'elsewhere'), '--seeds', '0', '1']
    assert 'has seen them' in sweep(*three, *elsewhere, of=(same,))[2]
    assert 'Note' not in sweep(*pair, *elsewhere, of=(same,))[2]  # a pair leaves nothing to choose


def test_the_search_is_a_sweep_of_lambda_0(sweep):
    status, result, _ = sweep('--lambdas', '0', '0.5', '--seeds', '0', '1', command='search', name='search')
    assert status == 0 and [entry['settings'] for entry in result['variants']] == [{'lambda_0': 0.0}, {'lambda_0': 0.5}]
    assert 'got -1.0' in sweep('--lambdas', '-1', command='search')[2]


# --- interruptions and failures --------------------------------------------------------------------------------------


def test_what_is_over_is_not_repeated_and_values_can_be_added(sweep):
    """Guards the time left, too, which counted runs that were over."""
    _, first, _ = sweep('--set', 'lambda_0=.5,2')
    InProcess.commands.clear()
    _, second, text = sweep('--set', 'lambda_0=0,2,.5')
    assert ['lambda_0=0' in words for words in InProcess.commands] == [True]
    assert scores(first).items() <= scores(second).items() and 'min left' not in text


@pytest.mark.parametrize('iteration', [4, 6])
def test_a_run_that_was_cut_short_is_resumed(sweep, tmp_path, monkeypatch, iteration):
    """Bit for bit what the unbroken sweep gives, from the last checkpoint on; the first run is not touched again."""
    _, whole, _ = sweep('--set', 'lambda_0=.5,2')
    expected = weights(tmp_path, 'lambda_0=2')
    (tmp_path / 'sweep').rename(tmp_path / 'whole')
    monkeypatch.setattr(BreakDown, 'at', (2.0, iteration))
    monkeypatch.setattr(BreakDown, 'error', RuntimeError('power cut'))
    assert sweep('--set', 'lambda_0=.5,2')[0] == 1
    assert not (tmp_path / 'sweep/lambda_0=2/seed_0/result.json').exists()
    BreakDown.seen.clear()
    _, resumed, _ = sweep('--set', 'lambda_0=.5,2')
    assert BreakDown.seen == [(2.0, i) for i in range(iteration // 3 * 3, 9)]
    assert scores(resumed) == scores(whole)
    assert all(torch.equal(value, weights(tmp_path, 'lambda_0=2')[name]) for name, value in expected.items())


def test_an_interruption_says_how_to_go_on_and_starts_no_other_run(sweep, monkeypatch):
    """The trainings that are under way are told to end."""
    ended, told = [], threading.Event()

    def wait(child) -> int:
        if len(InProcess.commands) == 1:
            fail(KeyboardInterrupt())
        return 1 - told.wait(30)  # as a training goes on until it is told to end

    def terminate(child) -> None:
        ended.append(child)
        told.set()

    monkeypatch.setattr(InProcess, 'wait', wait)
    monkeypatch.setattr(InProcess, 'terminate', terminate)
    status, _, text = sweep('--set', 'lambda_0=.5,2', '--seeds', '0', '1')
    assert status == 130 and 'the same command goes on' in text
    assert len(set(ended)) == len(InProcess.commands) < 4


def test_a_run_that_ended_before_its_result_was_written(sweep, tmp_path):
    _, whole, _ = sweep()
    (tmp_path / 'sweep/config/seed_0/result.json').unlink()
    assert scores(sweep()[1]) == scores(whole)


def test_a_run_that_failed_is_reported_and_stops_no_other(sweep, monkeypatch, tmp_path):
    """Its seed is left out of the pairs, its variant is not the best, and the same command repeats it alone."""
    monkeypatch.setattr(BreakDown, 'at', (2.0, 4))
    monkeypatch.setattr(BreakDown, 'error', RuntimeError('out of memory'))
    status, result, text = sweep('--set', 'lambda_0=.5,2', '--seeds', '0', '1')
    assert status == 1 and 'RuntimeError: out of memory' in text and 'output.log' in text
    assert [bool(run['error']) for run in result['runs']] == [False, True, False, False]
    assert result['variants'][1]['difference']['pairs'] == 1 and result['best'] is None and 'did not fail' in text
    InProcess.commands.clear()
    status, result, _ = sweep('--set', 'lambda_0=.5,2', '--seeds', '0', '1')
    assert status == 0 and len(InProcess.commands) == 1 and result['variants'][1]['difference']['pairs'] == 2
    log = next(tmp_path.glob('sweep/lambda_0=2/seed_0/output.log')).read_text()
    assert 'out of memory' in log and log.count(runs.BEGIN) == 2  # nothing of the first start is lost


def test_a_training_that_diverged_is_named_whatever_its_score(sweep, tmp_path):
    """With a loss of NaN and all of class 0 a network still has a score, which was reported as any other."""
    sweep('--set', 'lambda_0=.5,2', '--seeds', '0', '1')
    path = tmp_path / 'sweep/lambda_0=2/seed_1/result.json'
    record = json.loads(path.read_text())
    assert record['loss'] > 0
    record['validations']['3']['score'] = 1e3  # by far the best
    path.write_text(json.dumps(record | {'loss': None}))
    _, result, text = sweep('--set', 'lambda_0=.5,2', '--seeds', '0', '1')
    assert 'Diverged, the last training loss being no finite number: lambda_0=2, seed 1.' in text
    assert result['best'] == 'lambda_0=0.5' and result['variants'][1]['mean'] > 400


def test_a_tie_is_said_to_be_one(sweep):
    """The first of three equals was called the best, and nothing said that the others are as good."""
    words = ['--set', 'optim_wrapper.optimizer.dampening=0,.0000001,.0000002', '--seeds', '0', '1']
    _, result, text = sweep(*words, '--cfg-options', 'optim_wrapper.optimizer.lr=0.0')
    assert result['best'] == result['baseline']
    assert 'as 0 lies in the interval: dampening=1e-07; dampening=2e-07.' in text


def test_a_chosen_variant_below_the_baseline_is_said_to_be(sweep):
    """The baseline is no candidate there, and what lost to it by far was marked as the best."""
    words = ['--set', 'optim_wrapper.optimizer.lr=.1,0', '--choose-on', '0', '1', '--seeds', '5', '6']
    _, result, text = sweep(*words)
    means = result['choice']['means']
    assert result['best'] == 'lr=0' and 'lr=0 (chosen)' in text and '(best)' not in text
    lost = 'Where lr=0 was chosen, the baseline scored better than it.' in text
    assert lost == (means['lr=0'] < means['lr=0.1'])
    _, _, reverse = sweep(*words, '--lower-is-better', name='reverse')
    assert ('the baseline scored better' in reverse) != lost


def test_a_run_that_diverges_is_no_number(sweep):
    """JSON has no NaN."""
    status, result, text = sweep('--set', 'optim_wrapper.optimizer.lr=.1,1e38', '--seeds', '0', '1')
    assert status == 0 and result['variants'][1]['mean'] is None and result['best'] == 'lr=0.1'
    assert 'No finite score: lr=1e+38, seed 0' in text


# --- what is refused -------------------------------------------------------------------------------------------------


def test_runs_of_another_config_are_not_mixed_in(sweep):
    """Guards a table of runs that do not compare."""
    sweep()
    changes = ('optim_wrapper.optimizer.lr=0.2', 'train_cfg.val_begin=2', 'load_from=weights.pth')
    for words in [('--processes', '2'), *(('--cfg-options', change) for change in changes)]:
        status, _, text = sweep(*words)
        assert status == 2 and 'run of another config or other options' in text


def test_a_folder_in_which_another_run_trains_stays_its_own(sweep, config, tmp_path, monkeypatch):
    """A second sweep wrote its mark over that of a training under way, whose score it reported as its own later."""
    folder = tmp_path / 'sweep/config/seed_0'
    with monkeypatch.context() as patch:
        patch.setattr('mmseg_isda.commands.resume.fcntl.lockf', lambda *_: fail(BlockingIOError()))
        status, result, _ = sweep()
    assert status == 1 and 'another run trains in' in result['runs'][0]['error']
    assert not (folder / 'trial.json').exists()
    sweep()  # the other one, which ends before a third takes the folder that it had found empty
    kept = {path: path.read_bytes() for path in folder.glob('*.*')}
    words = ['--record', folder / 'result.json', '--trial', 'another', '--resume']
    assert main(['train', str(config), '--work-dir', str(folder), *map(str, words)]) == 2
    assert {path: path.read_bytes() for path in folder.glob('*.*')} == kept


@pytest.mark.parametrize(
    ('status', 'log', 'reason'),
    [
        (-9, 'Iter(train) [5/9]', 'killed by signal 9 (out of memory?) (exit status -9'),
        (-15, 'error: interrupted', 'killed by signal 15 (exit status -15'),
        (2, 'error: it is so\nIter(train) of another run', 'it is so (exit status 2'),
        (1, 'Traceback\nValueError: a bug', 'ValueError: a bug (exit status 1'),
        (3, '', 'it printed nothing (exit status 3'),
    ],
)
def test_the_reason_of_a_failure(sweep, monkeypatch, status, log, reason):
    """Any last line was given as the reason: a setting of the log's head, or the score of another run."""

    def wait(child) -> int:
        print(log, file=child.log)
        child.log.close()
        return status

    monkeypatch.setattr(InProcess, 'wait', wait)
    _, result, _ = sweep()
    assert result['runs'][0]['error'].startswith(reason)


def test_a_first_try_with_a_mistake_does_not_block_the_folder(sweep, monkeypatch):
    """A metric that does not exist, and a setting with which training does not begin, were found too late."""
    status, result, _ = sweep(metric='accuracy')
    assert status == 1 and "no metric 'accuracy'" in result['runs'][0]['error']
    assert sweep()[0] == 0
    monkeypatch.setattr(BreakDown, 'at', (3.0, 0))
    monkeypatch.setattr(BreakDown, 'error', RuntimeError('too large'))
    words = ('--set', 'lambda_0=3', '--cfg-options')
    assert sweep(*words, 'optim_wrapper.optimizer.lr=0.2')[0] == 1
    assert sweep(*words, 'optim_wrapper.optimizer.lr=0.3')[0] == 0


@pytest.mark.parametrize(('suffix', 'content'), [('json', '{"my": "notes"}'), ('md', 'precious'), ('png', 'a picture')])
def test_no_file_of_the_users_is_replaced_by_a_report(sweep, tmp_path, suffix, content):
    (tmp_path / 'sweep').mkdir()
    (tmp_path / f'sweep/sweep.{suffix}').write_text(content)
    status, _, text = sweep(anew=False)
    assert status == 2 and f'sweep.{suffix} exists' in text and 'is no report of a sweep' in text
    assert (tmp_path / f'sweep/sweep.{suffix}').read_text() == content and not InProcess.commands


def test_a_report_is_replaced_by_a_larger_one_alone(sweep, tmp_path):
    """A second sweep under the usual name replaced the report of the first, of other runs."""
    sweep('--set', 'lambda_0=.5,2')
    for words in (['--set', 'lambda_0=.5,3'], ['--set', 'lambda_0=.5,2', '--seeds', '1']):
        status, _, text = sweep(*words, anew=False)
        assert status == 2 and 'sweep.json reports runs that are not in this sweep (lambda_0=' in text
    assert sweep('--set', 'lambda_0=.5,2,3', '--seeds', '0', '1', anew=False)[0] == 0


def test_weights_that_are_missing_are_found_before_the_first_run(sweep, tmp_path):
    model = dict(type='ToyModel', loss=dict(type='ToyLoss'), init_cfg=dict(type='Pretrained', checkpoint='gone.pth'))
    status, _, text = sweep(of=(write_config(tmp_path / 'weights.py', model=model),))
    assert status == 2 and 'gone.pth does not exist' in text and not InProcess.commands


def test_checkpoints_of_somebody_else_are_not_continued(sweep, tmp_path):
    sweep()
    for name in ('trial.json', 'result.json'):
        (tmp_path / 'sweep/config/seed_0' / name).unlink()
    status, _, text = sweep()
    assert status == 2 and 'no sweep has started' in text


@pytest.mark.parametrize('name', ['trial.json', 'result.json'])
@pytest.mark.parametrize('content', ['', '{"config": ', '[]', '{"a": 1}', '\x00\xff'])
def test_broken_records_are_one_line(sweep, tmp_path, name, content):
    """They ended in tracebacks."""
    sweep('--seeds', '1')
    path = tmp_path / 'sweep/config/seed_1' / name
    path.write_text(content)
    InProcess.commands.clear()
    status, _, text = sweep('--seeds', '0', '1')
    remove = 'it' if name == 'result.json' else path.parent  # without it, the folder is one that no sweep began
    assert not InProcess.commands  # it is found before others are trained
    assert status == 2 and text.strip().count('\n') == 0 and str(path) in text and f'remove {remove} to' in text


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--set', 'lambda_0=.5,0.5'], '--set lambda_0=0.5: the value is named twice'),
        (['--set', 'lambda_0=.5,'], 'a value is empty'),
        (['--set', 'lambda_0'], 'expected KEY=VALUE'),
        (['--set', 'lambda_0=1', '--set', 'lambda_0=2'], 'is given twice'),
        (['--set', 'lambda_0=[1'], 'brackets'),
        (['--set', 'lambda0=1,2'], '--set lambda0: there is no lambda0'),
        (['--set', "model.loss={'type':'A'},{'type':'B'}"], "model.loss={'type':'A'}: a dict is not read here"),
        (['--set', 'lambda_0=0,-1'], 'lambda_0=-1: lambda_0 must lie in'),
        (['--set', 'randomness.seed=1,2'], '--set randomness.seed: name the seeds of the runs by --seeds'),
        (['--cfg-options', 'randomness.seed=1'], '--cfg-options randomness.seed: name the seeds'),
        (['--cfg-options', 'model.a=[1,2],[3]'], 'put several lists into brackets'),
        (['--seeds', '99999999999'], '--seeds: a seed is a whole number from 0 to 4294967295, got 99999999999'),
        (['--name', '../sweep'], '--name is the name of files'),
        (['--name='], '--name is the name of files'),
        (['--name', '..'], '--name is the name of files'),
        (['--set', 'modle.loss=1,2'], 'did you mean model'),
        (['--set', 'log_level=INFO,ERROR'], 'train the very same config'),
        (['--set', 'train_dataloader.dataset.offset=7,{seed}', '--seeds', '1', '7'], 'seed 7 train the very same'),
        (['--baseline', 'gone'], '--baseline gone is none of: config'),
        (['--seeds', '1', '1'], '1 is named twice'),
        (['--seeds', '-1'], 'got -1'),
        (['--choose-on', '1', '2', '--seeds', '2'], 'must be disjoint'),
        (['--choose-on', '1'], 'two seeds or more'),
        (['--jobs', '0'], '--jobs must be at least 1'),
        (['--last', '0'], '--last must be at least 1'),
        (['--last', '4'], 'last 4 validations, but there will be 3'),
        (['--hold-out', '3'], 'works with MMPretrain'),
        (['--protocols'], '--protocols scores segmentation'),
    ],
)
def test_nonsense_is_refused_before_anything_is_trained(sweep, words, message):
    status, result, text = sweep(*words)
    assert status == 2 and result is None and message in text and not InProcess.commands


def test_configs_that_cannot_be_compared_are_refused(sweep, tmp_path):
    plain = write_config(tmp_path / 'plain.py', model=dict(type='ToyModel', loss=dict(type='Identity')))
    assert 'name its ISDA twin' in sweep('--set', 'lambda_0=.5,2', of=(plain,))[2]
    nothing = dict(val_dataloader=None, val_cfg=None, val_evaluator=None)
    assert 'no val_dataloader' in sweep(of=(write_config(tmp_path / 'blind.py', **nothing),))[2]
    untested = dict(test_dataloader=None, test_cfg=None, test_evaluator=None)
    assert 'no test_dataloader' in sweep('--test', of=(write_config(tmp_path / 'untested.py', **untested),))[2]
    assert 'name the metric' in sweep(metric=None)[2]


def test_values_that_print_alike_have_folders_of_their_own():
    """0.1 and 0.10000000149 shared a folder; characters that no folder has must not make two names one."""
    variants = expand_variants(['c.py'], ['a.lr=0.1,0.10000000149,1e-1000', 'b.lr=[1,2],(1,2)'])
    names = [variant.name for variant in variants]
    assert names[0] == 'a.lr=0.1, b.lr=[1,2]' and len({runs._folder_name(name) for name in names}) == 6
    assert expand_variants(['x/a.py', 'y/a.py'], [])[0].name == 'x/a.py'
    lists = expand_variants(['c.py'], ['a.weight=[1,2],[2,1],[[1],[2]]'])  # MMEngine reads no such row
    assert [variant.settings['a.weight'] for variant in lists] == ['[1,2]', '[2,1]', '[[1],[2]]']
    with pytest.raises(OptionError, match='named twice'):
        expand_variants(['a.py', 'a.py'], [])


@pytest.mark.slow
def test_trainings_side_by_side_as_a_user_starts_them(tmp_path, monkeypatch):
    """The processes find the package, print into their logs, and hand their scores back."""
    monkeypatch.undo()
    from tests.tiny import tiny_settings, write_dataset
    from tests.tiny import write_config as write

    write_dataset(tmp_path / 'data')
    settings = tiny_settings(tmp_path / 'data')
    settings |= {f'val_{key}': settings[f'test_{key}'] for key in ('dataloader', 'evaluator')}
    settings |= {'val_cfg': dict(type='ValLoop')}
    settings['train_cfg']['val_interval'] = 2
    write(tmp_path / 'tiny.py', settings)
    words = ['tiny.py', '--set', 'optim_wrapper.optimizer.lr=.05,.01', '--jobs', '2', '--work-dir', 'sweep']
    done = subprocess.run(
        [sys.executable, ROOT / 'tools/sweep.py', *words], cwd=tmp_path, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / 'sweep/sweep.json').read_text())
    assert all(0 <= run['score'] <= 100 and run['seconds'] > 0 for run in result['runs'])
    assert 'Iter(val)' in (tmp_path / 'sweep/lr=0.05/seed_0/output.log').read_text()

    # What is trained is scored at three protocols, and not trained again; what lost its checkpoint is said to have.
    folders = [tmp_path / f'sweep/lr={value}/seed_0' for value in (0.05, 0.01)]
    ends = [(folder / 'result.json').stat().st_mtime_ns for folder in folders]
    for number, missing in enumerate((False, True)):
        if missing:
            (folders[1] / 'protocols.json').unlink()
            for file in folders[1].glob('*.pth'):
                file.unlink()
        again = [sys.executable, ROOT / 'tools/sweep.py', *words, '--protocols']
        done = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True, timeout=500)
        assert done.returncode == number, done.stdout + done.stderr
    assert 'lr=0.01, seed 0 failed: sweep/lr=0.01/seed_0 holds no checkpoint to score' in done.stdout
    assert [(folder / 'result.json').stat().st_mtime_ns for folder in folders] == ends
    scored = json.loads((folders[0] / 'protocols.json').read_text())['protocols']
    shown = json.loads((tmp_path / 'sweep/sweep.json').read_text())['protocols']
    assert {name: entries[0]['mean'] for name, entries in shown.items()} == {
        name: pytest.approx(score['mIoU']) for name, score in scored.items()
    }
    assert [f'mIoU ({name})' in done.stdout for name in scored] == [True] * 3
