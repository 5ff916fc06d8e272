import copy

import pytest
import torch
from torch import nn

from mmseg_isda.engine.semi import MeanTeacherHook, batch_statistics_only


class Runner:
    """As much of a Runner as the hook asks for."""

    def __init__(self, model):
        self.model, self.iter = model, 0


class Student(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
        self.teacher = []

    def attach_teacher(self, teacher):
        self.teacher = [teacher]


def train(hook, runner, steps):
    """Random steps; returns the states of the student after each."""
    states = []
    for _ in range(steps):
        hook.before_train_iter(runner, runner.iter)
        runner.model(torch.randn(8, 3))
        with torch.no_grad():
            for parameter in runner.model.parameters():
                parameter += torch.randn_like(parameter)
        hook.after_train_iter(runner, runner.iter)
        states.append(copy.deepcopy(runner.model.state_dict()))
        runner.iter += 1
    return states


def test_teacher_is_the_average_of_its_students():
    """Guards decay and warm-up, running statistics that are averaged too, and counters that are not."""
    runner = Runner(Student())
    hook = MeanTeacherHook(momentum=0.1, warmup_momentum=0.4, warmup_iters=5)
    hook.before_run(runner)
    states = train(hook, runner, 30)
    expected = states[0]
    for step, state in enumerate(states[1:], start=1):
        momentum = max(0.4 if step < 5 else 0.1, 1 / (step + 1))
        expected = {
            name: old.lerp(state[name], momentum) if old.is_floating_point() else state[name]
            for name, old in expected.items()
        }
    (teacher,) = runner.model.teacher
    for name, value in teacher.state_dict().items():
        torch.testing.assert_close(value, expected[name], msg=name)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_teacher_is_no_part_of_its_student():
    """Guards the optimizer, DistributedDataParallel and the checkpoint, which would hold the network twice."""
    runner = Runner(Student())
    keys = set(runner.model.state_dict())
    MeanTeacherHook().before_run(runner)
    assert set(runner.model.state_dict()) == keys and len(list(runner.model.modules())) == 5


@pytest.mark.parametrize('predict_on', ['teacher', 'student'])
def test_predict_on_decides_what_is_validated_and_saved(predict_on):
    """Guards the reported figure: Mean Teacher reports its teacher."""
    runner = Runner(Student())
    hook = MeanTeacherHook(predict_on=predict_on)
    hook.before_run(runner)
    student = train(hook, runner, 3)[-1]
    teacher = copy.deepcopy(runner.model.teacher[0].state_dict())
    expected = teacher if predict_on == 'teacher' else student
    hook.before_val_epoch(runner)
    torch.testing.assert_close(dict(runner.model.state_dict()), dict(expected))
    hook.after_val_epoch(runner)
    checkpoint = dict(state_dict=copy.deepcopy(runner.model.state_dict()))
    hook.before_save_checkpoint(runner, checkpoint)
    torch.testing.assert_close(dict(checkpoint['state_dict']), dict(expected))
    resumed = Runner(Student())
    resumed._resume = True
    again = MeanTeacherHook(predict_on=predict_on)
    again.before_run(resumed)
    again.after_load_checkpoint(resumed, checkpoint)
    torch.testing.assert_close(dict(checkpoint['state_dict']), dict(student))
    torch.testing.assert_close(dict(resumed.model.teacher[0].state_dict()), teacher)


def test_options_out_of_range_are_named():
    with pytest.raises(ValueError, match='momentum must be between 0 and 1'):
        MeanTeacherHook(momentum=0)
    with pytest.raises(ValueError, match="predict_on must be one of 'teacher', 'student', got 'both'"):
        MeanTeacherHook(predict_on='both')


@pytest.mark.parametrize('norm', [nn.BatchNorm1d(4), nn.BatchNorm1d(4, momentum=None)])
def test_a_pass_without_trace(norm):
    """Guards the running statistics against adversarial images, and the pass against those statistics."""
    network, x = nn.Sequential(norm, nn.Linear(4, 4)), 3 + torch.randn(16, 4)
    before = copy.deepcopy(network.state_dict())
    with batch_statistics_only(network):
        out = network(x)
    torch.testing.assert_close(dict(network.state_dict()), dict(before), rtol=0, atol=0)
    torch.testing.assert_close(out, network(x))  # the same as with trace
    assert network[0].num_batches_tracked == 1


def test_frozen_batch_norm_stays_frozen():
    """Guards backbones with norm_eval=True, which normalize by their running statistics in training too."""
    network, x = nn.Sequential(nn.BatchNorm1d(4).eval()), torch.randn(8, 4)
    with batch_statistics_only(network):
        torch.testing.assert_close(network(x), x, rtol=1e-4, atol=1e-4)
    with pytest.raises(KeyError), batch_statistics_only(network.train()):
        raise KeyError
    assert network[0].track_running_stats
