"""The steps of a demo: none is repeated, none that was cut off is taken for done, and what fails says why."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from demo.steps import Step, StepError, run_demo, run_steps, trained

# A trainer that leaves a whole first checkpoint, is killed while it writes the last one, and resumes when called again.
TRAINER = """
import os, pathlib, signal, sys
folder = pathlib.Path(sys.argv[1])
folder.mkdir(exist_ok=True)
with open('calls.txt', 'a') as file:
    file.write('resumed ' if (folder / 'iter_2.pth').exists() else 'started ')
(folder / 'iter_2.pth').write_bytes(b'whole')
if not (folder / 'iter_4.pth').exists():
    (folder / 'iter_4.pth').write_bytes(b'ha')
    os.kill(os.getpid(), signal.SIGKILL)
(folder / 'iter_4.pth').write_bytes(b'whole')
(folder / 'result.json').write_text('{}')
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'train.py').write_text(TRAINER)
    return tmp_path


def words(code):
    return ['-c', code]


def test_a_training_that_was_killed_while_it_wrote_is_finished_by_the_next_call(place):
    """The demo took a half-written last checkpoint for a finished training and could never be finished."""
    steps = [Step('Train', ['train.py', 'run'], place / 'run' / 'result.json')]
    with pytest.raises(StepError, match=r'Train failed \(status -9\)'):
        run_steps(steps, place / 'logs')
    assert (place / 'run' / 'iter_4.pth').read_bytes() == b'ha'
    run_steps(steps, place / 'logs')
    run_steps(steps, place / 'logs')
    assert (place / 'calls.txt').read_text() == 'started resumed '
    assert (place / 'run' / 'iter_4.pth').read_bytes() == b'whole'


def test_done_steps_are_skipped_and_the_rest_follows(place, capsys):
    """Minutes of work done again because the last step failed; a later step run before an earlier one."""
    (place / 'first.json').touch()
    note = "open('order.txt', 'a').write('{}'); open('{}.json', 'w')"
    steps = [Step(name, words(note.format(name, name)), place / f'{name}.json') for name in ('first', 'second')]
    run_steps([*steps, Step('third', words("open('order.txt', 'a').write('third')"))], place / 'logs')
    assert (place / 'order.txt').read_text() == 'secondthird'
    shown = capsys.readouterr().out
    assert '[1/3] first: done before' in shown and '[2/3] second\n    python -c' in shown


def test_failure_shows_the_last_lines_and_the_log(place, capsys):
    """A status without a reason; steps that go on after one that failed."""
    steps = [Step('Draw', words("print('why'); raise SystemExit(3)")), Step('Next', words("open('next', 'w')"))]
    with pytest.raises(StepError, match=r'Draw failed \(status 3\); all of it: .*1\.log'):
        run_steps(steps, place / 'logs')
    assert 'why' in capsys.readouterr().out and 'why' in (place / 'logs' / '1.log').read_text()
    assert not (place / 'next').exists()


def test_command_that_leaves_nothing_is_a_failure(place):
    """It would be repeated for ever, or be missed by a later step."""
    with pytest.raises(StepError, match=r'Draw failed \(status 0\)'):
        run_steps([Step('Draw', words('pass'), place / 'nothing.png')], place / 'logs')


def test_threads_do_not_spin(place):
    """Two trainings side by side took ten times as long where threads waited for one another."""
    run_steps(
        [Step('s', words("import os; print(os.environ['OMP_NUM_THREADS'], os.environ['OMP_WAIT_POLICY'])"))], place
    )
    assert (place / '1.log').read_text() == '1 passive\n'


def test_a_stopped_demo_stops_its_command(place):
    """A training that goes on alone after the demo was stopped writes into the next one's folder."""
    code = (
        'import sys; from demo.steps import *; from pathlib import Path\n'
        'sleep = \'import os, time; open("pid", "w").write(str(os.getpid())); time.sleep(60)\'\n'
        "sys.exit(run_demo(lambda: run_steps([Step('s', ['-c', sleep])], Path('logs'))))"
    )
    path = os.pathsep.join(sys.path)
    demo = subprocess.Popen(
        [sys.executable, '-c', code], env={**os.environ, 'PYTHONPATH': path}, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not ((place / 'pid').exists() and (place / 'pid').read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    demo.send_signal(signal.SIGTERM)
    assert demo.wait(timeout=60) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int((place / 'pid').read_text()), 0)


def test_interruption_says_how_to_go_on(capsys):
    def stop():
        raise KeyboardInterrupt

    assert run_demo(stop) == 130
    assert capsys.readouterr().err == 'error: stopped; the same command goes on from here\n'


def test_progress_is_read_from_the_logs(place):
    """One training is over, one half done with a line that is being written, one has not begun."""
    for name in ('over', 'half', 'new'):
        (place / name / '2026' / 'vis_data').mkdir(parents=True)
    (place / 'over' / 'result.json').touch()
    rows = [{'step': 10, 'loss': 1.0}, {'step': 50, 'loss': 0.5}]
    text = '\n'.join(map(json.dumps, rows)) + '\n{"step": 9'
    (place / 'half' / '2026' / 'vis_data' / 'scalars.json').write_text(text)
    folders = [place / name for name in ('over', 'half', 'new', 'missing')]
    assert trained(folders, 'result.json', ('step', 100)) == pytest.approx(1.5 / 4)
