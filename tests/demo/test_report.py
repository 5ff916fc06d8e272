"""The report on two runs: it shows what it was given, needs nothing from outside, and a browser draws it."""

import json
import math
import os
import re
import shutil
import subprocess
from decimal import Decimal
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from demo.report import (
    Pictures,
    RunRecord,
    Scene,
    compare_runs,
    find_checkpoint,
    find_config,
    load_pictures,
    load_run,
    render_report,
    write_report,
)
from demo.report.charts import Series, format_value, line_chart, nice_ticks
from demo.report.pictures import NEITHER, ONLY_FIRST, ONLY_SECOND, compare, shares, spread
from demo.report.records import config_differences, flatten, format_duration

VOID_ELEMENTS = {'meta', 'img', 'br'}
CLASSES = ('road', 'sky', 'train')
PALETTE = ((128, 64, 128), (70, 130, 180), (0, 80, 100))
PROTOCOLS = ('single_scale', 'multi_scale', 'multi_scale_flip')
HOSTILE = '<script>alert("1")</script>&amp;\'"'


class Page(HTMLParser):
    """Elements, attributes, cells of tables and text of a page; fails on an element that is not closed in order."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.attributes, self.rows, self.words, self.tags = [], [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open, f'not closed: {self.open}'

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)
        if tag == 'tr':
            self.rows.append([])
        elif tag in ('td', 'th'):
            self.rows[-1].append('')

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f'</{tag}> closes something else'

    def handle_data(self, data):
        if self.open and self.open[-1] == 'style':
            return
        self.words.append(data)
        if 'td' in self.open or 'th' in self.open:
            self.rows[-1][-1] += data

    @property
    def text(self):
        return ''.join(self.words)


def make_scores(offset=0.0):
    return {
        protocol: {
            'mIoU': 41.2345 + i + offset,
            'mAcc': 50.555 + offset,
            'aAcc': 90.1 - offset,
            'IoU': {'road': 92.5 + offset, 'sky': 88.125 - offset, 'train': 3.3},
        }
        for i, protocol in enumerate(PROTOCOLS)
    }


def make_run(name, offset=0.0, isda=False, **changes):
    steps = range(20, 201, 20)
    scalars = {
        'loss': [(step, 3 - step / 100) for step in steps],
        'mIoU': [(100, 20.0 + offset), (200, 41.23 + offset)],
    }
    if isda:
        scalars['decode_head.isda_lambda'] = [(step, 7.5 * step / 200) for step in steps]
        scalars['decode_head.isda_shift'] = [(step, 0.01 * step) for step in steps]
        scalars['auxiliary_head.isda_shift'] = [(step, 99.0) for step in steps]
    given = dict(config=f'{name}.py', scalars=scalars, scores=make_scores(offset), facts={'Seed': '0'}, settings={})
    return RunRecord(name, **{**given, **changes})


def make_scene(height=32, width=64):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    truth = rng.choice(np.array([0, 1, 255], dtype=np.uint8), (height, width))
    predictions = [rng.integers(0, 3, (height, width), dtype=np.uint8) for _ in range(2)]
    return Scene('birchley_000001', image, truth, predictions)


@pytest.fixture
def runs():
    return [make_run('Plain'), make_run('ISDA', 1.5, isda=True)]


@pytest.fixture
def pictures():
    return Pictures(CLASSES, PALETTE, [make_scene()])


# --- the page --------------------------------------------------------------------------------------------------------


def test_page_is_well_formed_and_asks_for_nothing_outside(runs, pictures):
    """A page that links a style sheet, font or picture is broken offline and tells others that it is read."""
    html = render_report(runs, pictures)
    page = Page(html)
    loaded = [value for _, key, value in page.attributes if key in ('src', 'srcset', 'data', 'poster', 'action')]
    assert len(loaded) == 5
    assert all(re.match(r'data:image/(png|jpeg);base64,', value) for value in loaded)
    assert not {'script', 'link', 'iframe', 'object', 'base'} & set(page.tags)
    assert not [key for _, key, _ in page.attributes if key in ('href', 'xlink:href') or key.startswith('on')]
    assert '://' not in html.replace('data:image', '')
    assert 'url(' not in html
    assert '@import' not in html


def test_page_is_the_same_each_time(runs, pictures):
    """Random ids or an order of hashes would make two pages on the same runs differ."""
    assert render_report(runs, pictures) == render_report(runs, pictures)


def test_scores_are_those_of_the_runs(runs):
    """Each cell of the table equals its source; columns or runs once swapped would go unseen."""
    rows = [row for row in Page(render_report(runs)).rows if len(row) in (4, 5)]
    for metric in ('mIoU', 'mAcc', 'aAcc'):
        start = next(i for i, row in enumerate(rows) if row[0].startswith(metric))
        for row, run in zip(rows[start : start + 2], runs, strict=True):
            assert row[-4] == run.name
            assert row[-3:] == [f'{run.scores[protocol][metric]:.2f}' for protocol in PROTOCOLS]
        shown = zip(rows[start][-3:], rows[start + 1][-3:], strict=True)
        expected = [Decimal(second) - Decimal(first) for first, second in shown]
        assert [Decimal(cell.replace('\u2212', '-')) for cell in rows[start + 2][-3:]] == expected


def test_class_table_is_that_of_the_runs(runs, pictures):
    """Every class has a row of its own with both values; the mean closes the table."""
    rows = {row[0]: row for row in Page(render_report(runs, pictures)).rows if len(row) == 5}
    for name in CLASSES:
        first, second = (f'{run.scores["single_scale"]["IoU"][name]:.2f}' for run in runs)
        assert rows[name][2:4] == [first, second]
        assert Decimal(rows[name][4].replace('\u2212', '-')) == Decimal(second) - Decimal(first)
    assert rows['Mean'][2:4] == ['41.23', '42.73']


def test_bars_are_as_long_as_the_values(runs):
    """A bar that contradicts its number."""
    html = render_report(runs)
    for run in runs:
        assert html.count(f'--v:{run.scores["single_scale"]["IoU"]["sky"]:.2f}%') == 1


def test_difference_agrees_with_the_figures_shown():
    """41.004 and 42.996 are shown as 41.00 and 43.00: the difference between them is 2.00, not 1.99."""
    runs = [make_run('a'), make_run('b')]
    for run, value in zip(runs, (41.004, 42.996), strict=True):
        run.scores['single_scale']['mIoU'] = value
    assert '+2.00' in Page(render_report(runs)).text
    assert 'a difference of +2.00' in Page(render_report(runs)).text


def test_tiny_difference_has_no_sign():
    """-0.00 and +0.00 look like a result."""
    runs = [make_run('a'), make_run('b', -0.00001)]
    assert not re.search('[+\u2212]0\\.00', render_report(runs))


@pytest.mark.parametrize('missing', [None, float('nan')])
def test_absent_class_is_a_dash(missing):
    """A class that never occurs has no IoU: neither 'nan' nor 'None' nor 0.00 may stand there."""
    runs = [make_run('a'), make_run('b')]
    for run in runs:
        run.scores['single_scale']['IoU']['train'] = missing
    page = Page(render_report(runs))
    assert next(row for row in page.rows if row[0] == 'train')[2:] == ['\u2013'] * 3
    assert not re.search(r'\b(nan|None)\b', page.text)


def test_everything_is_escaped():
    """A name from a config or a folder that is taken for HTML breaks the page, or runs in it."""
    hostile = dict(
        config=HOSTILE,
        facts={HOSTILE: HOSTILE},
        settings={HOSTILE: HOSTILE},
        scores={HOSTILE: {'mIoU': 1.0, 'mAcc': 1.0, 'aAcc': 1.0, 'IoU': {HOSTILE: 1.0}}},
    )
    scene = make_scene()
    scene = Scene(HOSTILE, scene.image, scene.truth, scene.predictions)
    runs = [make_run(HOSTILE, **hostile), make_run(HOSTILE, **{**hostile, 'settings': {}, 'facts': {}})]
    pictures = Pictures((HOSTILE, 'b', 'c'), PALETTE, [scene])
    html = render_report(runs, pictures, title=HOSTILE, note=HOSTILE, footer=HOSTILE)
    page = Page(html)
    assert '<script' not in html
    assert not [key for _, key, _ in page.attributes if not re.fullmatch(r'[a-zA-Z0-9:-]+', key)]
    # run names, config, fact and its value, setting and its value, protocol, class, scene, title, note, footer, ...
    assert page.text.count(HOSTILE) >= 20
    assert sum(HOSTILE in (value or '') for _, _, value in page.attributes) >= 5


def test_template_signs_in_the_text_stay(runs):
    """`$title` in a note must not be taken for a place of the template."""
    assert '$title ${body}' in Page(render_report(runs, note='$title ${body}')).text


def test_runs_without_curves_scores_and_pictures():
    """A run that is not scored, or has no ISDA, still gives a page that says what is missing."""
    bare = [make_run(name, scalars={}, scores={}) for name in 'ab']
    page = Page(render_report(bare))
    assert page.text.count('Neither run recorded it.') == 4
    assert 'tools/test.py' in page.text
    assert 'svg' not in page.tags
    one = [make_run('a', scores={}), make_run('b')]
    rows = Page(render_report(one)).rows
    assert ['mIoUmean IoU', 'a', '\u2013', '\u2013', '\u2013'] in rows


def test_pictures_carry_words_and_the_legend_only_what_they_show(runs):
    """A picture without a text is nothing to those who cannot see it; nineteen unused colours are no legend."""
    scene = make_scene()
    scene.truth[scene.truth == 255] = 0
    for prediction in scene.predictions:
        prediction[prediction == 2] = 1
    page = Page(render_report(runs, Pictures(CLASSES, PALETTE, [scene])))
    texts = [value for tag, key, value in page.attributes if (tag, key) == ('img', 'alt')]
    assert len(texts) == 5
    assert all(text.startswith('birchley_000001: ') for text in texts)
    legend = page.text.split('Classes')[1].split('Who is right')[0]
    assert 'road' in legend
    assert 'sky' in legend
    assert 'train' not in legend
    assert 'not scored' not in legend


def test_loss_remark_only_where_the_losses_differ(runs):
    """The remark that the losses cannot be compared is wrong for two runs with the same loss."""
    remark = 'says nothing about the fit'
    assert remark in render_report(runs)
    assert remark not in render_report([runs[1], runs[1]])


def test_wrong_number_of_runs_or_predictions(runs, pictures):
    """Three runs would be drawn as two."""
    with pytest.raises(ValueError, match='expected two runs to compare, got 1'):
        render_report(runs[:1])
    pictures.scenes[0].predictions.pop()
    with pytest.raises(ValueError, match='two predictions in each scene'):
        render_report(runs, pictures)


def test_report_is_not_overwritten_unasked(tmp_path):
    """Nothing of the user's is lost; no half-written file stays behind."""
    path = write_report(tmp_path / 'new' / 'report.html', 'one')
    with pytest.raises(FileExistsError, match='--overwrite'):
        write_report(path, 'two')
    assert path.read_text() == 'one'
    write_report(path, 'two', overwrite=True)
    assert path.read_text() == 'two'
    assert [p.name for p in path.parent.iterdir()] == ['report.html']


# --- curves ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('low', 'high'), [(0, 600), (0, 7.5), (0, 0.0031), (-0.4, 2.2), (0, 0), (0, 1e7)])
def test_ticks_enclose_the_values(low, high):
    """A line that leaves the axes, or an axis with one tick or thirty."""
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 2 <= len(ticks) <= 8
    assert len({round(b - a, 9) for a, b in pairwise(ticks)}) == 1


def test_line_goes_through_its_points():
    """Axis numbers and line once disagreed when the ticks reached beyond the values."""
    points = [(10, 1.0), (20, 0.5), (40, 2.2)]
    svg = line_chart('t', [Series('a', points, 'a')])
    drawn = [tuple(map(float, pair.split(','))) for pair in re.search('points="([^"]+)"', svg)[1].split()]
    marks = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="(end|middle)">([\d.]+)</text>', svg)
    y_axis = [(float(value), float(y) - 4) for _, y, anchor, value in marks if anchor == 'end']
    x_axis = [(float(value), float(x)) for x, _, anchor, value in marks if anchor == 'middle']
    for axis, index in ((x_axis, 0), (y_axis, 1)):
        values, places = zip(*axis, strict=True)
        slope, offset = np.polyfit(values, places, 1)
        assert [p[index] for p in drawn] == pytest.approx([slope * p[index] + offset for p in points], abs=0.2)


def test_last_values_are_shown_and_do_not_touch():
    """Two lines that end at the same place would print their values on top of each other."""
    series = [Series('a', [(0, 0.0), (1, 1.0)], 'a'), Series('b', [(0, 0.0), (1, 1.001)], 'b')]
    ends = re.findall(r'class="end (\w)" x="[\d.]+" y="([\d.]+)">([\d.]+)<', line_chart('t', series))
    assert {(style, value) for style, _, value in ends} == {('a', '1.00'), ('b', '1.00')}
    assert abs(float(ends[0][1]) - float(ends[1][1])) >= 12


def test_curve_takes_the_main_head_and_finite_points():
    """The auxiliary head's curve in place of the main one's; a NaN loss that made the whole line vanish."""
    run = make_run('a', isda=True)
    assert run.curve('isda_shift')[-1] == (200, 2.0)
    run = make_run('a', scalars={'loss': [(1, 2.0), (2, math.nan), (3, math.inf), (4, 1.0)]})
    assert run.curve('loss') == [(1, 2.0), (4, 1.0)]
    assert run.curve('isda_lambda') == []
    assert 'points="' in render_report([run, run])


def test_chart_without_points_is_refused():
    with pytest.raises(ValueError, match='got no points'):
        line_chart('Loss', [Series('a', [], 'a')])


@pytest.mark.parametrize(
    ('value', 'text'),
    [(0, '0'), (7.5, '7.50'), (41.26, '41.3'), (1234.4, '1234'), (0.00312, '0.00312'), (1e-6, '1.00e-06')],
)
def test_values_have_three_digits(value, text):
    assert format_value(value) == text


@pytest.mark.parametrize(('seconds', 'text'), [(0.2, '0 s'), (75, '1 min 15 s'), (3600, '1 h'), (7325, '2 h 2 min')])
def test_durations(seconds, text):
    assert format_duration(seconds) == text


# --- pictures --------------------------------------------------------------------------------------------------------


def test_map_of_who_is_right():
    """The colours of the two runs once swapped; pixels that are not scored counted as errors."""
    scene = make_scene(8, 12)
    picture = np.asarray(compare(scene))
    first_only = second_only = scored = 0
    for y, x in np.ndindex(scene.truth.shape):
        truth, a, b = scene.truth[y, x], scene.predictions[0][y, x], scene.predictions[1][y, x]
        if truth == 255 or (a == truth and b == truth):
            expected = None
        else:
            expected = ONLY_FIRST if a == truth else ONLY_SECOND if b == truth else NEITHER
        scored += truth != 255
        first_only += expected == ONLY_FIRST
        second_only += expected == ONLY_SECOND
        pixel = tuple(picture[y, x])
        assert pixel == expected if expected else pixel[0] == pixel[1] == pixel[2] >= 170
    assert shares(scene) == pytest.approx((100 * first_only / scored, 100 * second_only / scored))
    right = sum(scene.predictions[0][i] == scene.truth[i] != 255 for i in np.ndindex(scene.truth.shape))
    assert scene.accuracy(0) == pytest.approx(100 * right / scored)


def test_scene_without_scored_pixels(runs):
    """A wholly ignored image divided by zero."""
    scene = make_scene()
    scene.truth[:] = 255
    page = Page(render_report(runs, Pictures(CLASSES, PALETTE, [scene])))
    assert 'nan' not in page.text


@pytest.mark.parametrize(('total', 'count'), [(60, 5), (5, 5), (3, 5), (7, 6), (1, 1)])
def test_images_are_spread_without_repeats(total, count):
    """With few images the same one was once shown twice."""
    chosen = spread(total, count)
    assert len(set(chosen)) == len(chosen) == min(total, count)
    assert all(0 <= index < total for index in chosen)


# --- what is read of a run -------------------------------------------------------------------------------------------

LOG = """2026/01/02 10:00:00 - mmengine - INFO -
------------------------------------------------------------
System environment:
    sys.platform: linux
    Python: 3.12.1 (main, Jan 1 2026) [GCC 12]
    CUDA available: True
    GPU 0,1: NVIDIA Example
    PyTorch: 2.11.0
    MMEngine: 0.10.7

Runtime environment:
    seed: 3
    GPU number: 1
------------------------------------------------------------
2026/01/02 10:00:30 - mmengine - INFO - Iter(train) [20/40]  loss: 2.0
2026/01/02 10:01:15 - mmengine - INFO - Iter(val) [2/2]  mIoU: 10.0
"""
CONFIG = (
    "train_cfg = dict(max_iters=40)\ntrain_dataloader = dict(batch_size=4)\nhooks = [dict(type='A'), dict(type='B')]\n"
)


def make_work_dir(root, rows, start='20260102_100000', config=CONFIG):
    folder = root / start
    (folder / 'vis_data').mkdir(parents=True)
    (folder / 'vis_data' / 'scalars.json').write_text('\n'.join(map(json.dumps, rows)) + '\n')
    (folder / 'vis_data' / 'config.py').write_text(config)
    (folder / f'{start}.log').write_text(LOG)
    (root / 'pspnet_demo.py').write_text(config)
    return root


def test_run_is_read_with_all_its_starts(tmp_path):
    """A resumed run repeats iterations; the last start holds. A line cut off by the interruption is left out."""
    rows = [{'loss': 2.0, 'iter': 20, 'step': 20}, {'mIoU': 9.0, 'step': 20}, {'loss': 9.0, 'iter': 30, 'step': 30}]
    make_work_dir(tmp_path, rows)
    with (tmp_path / '20260102_100000/vis_data/scalars.json').open('a') as file:
        file.write('{"loss": 1.')
    later = [{'loss': 1.5, 'iter': 30, 'step': 30}, {'loss': 1.0, 'iter': 40, 'step': 40}]
    make_work_dir(tmp_path, later, '20260102_110000', CONFIG.replace("'B'", "'C'"))
    (tmp_path / '20260103_100000').mkdir()  # a test run in the same folder: no curves, a config of its own
    run = load_run(tmp_path)
    assert run.scalars['loss'] == [(20, 2.0), (30, 1.5), (40, 1.0)]
    assert run.scalars['mIoU'] == [(20, 9.0)]
    assert run.settings['hooks.1.type'] == "'C'"
    assert (run.name, run.config, run.scores) == (tmp_path.name, 'pspnet_demo', {})
    expected = {'Iterations': '40', 'Seed': '3', 'Batch size': '4', 'Training time': '2 min 30 s', 'PyTorch': '2.11.0'}
    assert expected.items() <= run.facts.items()
    assert (run.facts['Device'], run.facts['Python']) == ('NVIDIA Example', '3.12.1')


def test_unfinished_run_says_so(tmp_path):
    run = load_run(make_work_dir(tmp_path, [{'loss': 2.0, 'step': 20}]))
    assert run.facts['Iterations'] == '20 logged of 40'


def test_scores_are_found_or_named(tmp_path):
    """scores.json beside the run is taken by itself; a file that is no such thing is refused with what to do."""
    make_work_dir(tmp_path, [{'loss': 2.0, 'step': 20}])
    (tmp_path / 'scores.json').write_text(json.dumps({'protocols': make_scores()}))
    assert load_run(tmp_path).scores == make_scores()
    other = tmp_path / 'elsewhere.txt'
    with pytest.raises(FileNotFoundError, match='--protocols --json'):
        load_run(tmp_path, scores=other)
    for content in ('{"metrics": {}}', 'text', '[]', '{"protocols": [1]}'):
        other.write_text(content)
        with pytest.raises(ValueError, match='score the run again'):
            load_run(tmp_path, scores=other)


def test_missing_parts_of_a_run_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='no folder'):
        load_run(tmp_path / 'none')
    with pytest.raises(FileNotFoundError, match='no training log'):
        load_run(tmp_path)
    with pytest.raises(FileNotFoundError, match='last_checkpoint'):
        find_checkpoint(tmp_path)


def test_checkpoint_of_a_moved_run_is_found(tmp_path):
    """last_checkpoint holds the path at training time."""
    (tmp_path / 'last_checkpoint').write_text('/somewhere/else/iter_40.pth')
    with pytest.raises(FileNotFoundError, match='names a checkpoint that is not there'):
        find_checkpoint(tmp_path)
    (tmp_path / 'iter_40.pth').touch()
    assert find_checkpoint(tmp_path) == tmp_path / 'iter_40.pth'


def test_config_differences():
    """Differences within lists of dicts, and settings that only one config has; not where the logs went."""
    base = dict(a=1, hooks=[dict(type='A')], work_dir='x', size=(1, 2))
    other = dict(a=1, hooks=[dict(type='B', n=2)], work_dir='y', size=(1, 3))
    runs = [make_run(name, settings=flatten(settings)) for name, settings in (('a', base), ('b', other))]
    assert config_differences(*runs) == [
        ('hooks.0.type', "'A'", "'B'"),
        ('size', '(1, 2)', '(1, 3)'),
        ('hooks.0.n', None, '2'),
    ]
    assert 'Where the two configs differ (3)' in Page(render_report(runs)).text


# --- all of it -------------------------------------------------------------------------------------------------------

TINY = """
default_scope = 'mmseg'
pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
val_dataloader = dict(dataset=dict(
    type='CityscapesDataset', data_root={root!r}, pipeline=pipeline,
    data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val')))
norm_cfg = dict(type='SyncBN')
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3, size=(32, 64)),
    backbone=dict(type='ResNetV1c', depth=18, stem_channels=8, base_channels=4, norm_cfg=norm_cfg),
    decode_head=dict(type='FCNHead', in_channels=32, channels=8, num_convs=1, num_classes=19, norm_cfg=norm_cfg,
                     loss_decode=dict(type='CrossEntropyLoss')),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
"""


@pytest.fixture
def trained(tmp_path):
    """Two work folders with a config and a checkpoint that MMEngine wrote, and three images."""
    import torch
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmengine.runner import save_checkpoint
    from mmseg.registry import MODELS

    rng = np.random.default_rng(0)
    for kind, suffix in (('leftImg8bit', 'leftImg8bit'), ('gtFine', 'gtFine_labelTrainIds')):
        folder = tmp_path / 'data' / kind / 'val' / 'city'
        folder.mkdir(parents=True)
        for i in range(3):
            picture = rng.integers(0, 19, (32, 64, 3) if kind == 'leftImg8bit' else (32, 64), dtype=np.uint8)
            cv2.imwrite(str(folder / f'city_{i:06d}_000019_{suffix}.png'), picture)
    folders = []
    for seed in range(2):
        text = TINY.format(root=str(tmp_path / 'data'))
        folder = make_work_dir(tmp_path / f'run{seed}', [{'loss': 2.0, 'step': 20}], config=text)
        init_default_scope('mmseg')
        torch.manual_seed(seed)
        model = MODELS.build(Config.fromfile(folder / 'pspnet_demo.py').model)
        path = folder / 'iter_40.pth'
        save_checkpoint({'state_dict': model.state_dict(), 'meta': {'dataset_meta': {}}}, str(path))
        (folder / 'last_checkpoint').write_text(str(path))
        folders.append(folder)
    return folders


def test_pictures_show_what_the_networks_predict(trained):
    """Pictures of the right images, the file's own labels, and each network's own prediction."""
    import torch
    from mmengine.config import Config
    from mmengine.model import revert_sync_batchnorm
    from mmseg.registry import MODELS

    pictures = load_pictures([(find_config(w), find_checkpoint(w)) for w in trained], count=2, device='cpu')
    assert [scene.name for scene in pictures.scenes] == ['city_000000_000019', 'city_000002_000019']
    assert len(pictures.classes) == len(pictures.palette) == 19
    data = trained[0].parent / 'data'
    for index, work_dir in enumerate(trained):
        model = revert_sync_batchnorm(MODELS.build(Config.fromfile(find_config(work_dir)).model)).eval()
        model.load_state_dict(torch.load(find_checkpoint(work_dir), weights_only=True)['state_dict'])
        for scene in pictures.scenes:
            labels = data / f'gtFine/val/city/{scene.name}_gtFine_labelTrainIds.png'
            image = cv2.imread(str(data / f'leftImg8bit/val/city/{scene.name}_leftImg8bit.png'))
            assert np.array_equal(scene.truth, cv2.imread(str(labels), cv2.IMREAD_UNCHANGED))
            assert np.array_equal(scene.image, image[..., ::-1])
            with torch.no_grad():
                logits = model((torch.from_numpy(image).permute(2, 0, 1)[None].float() - 120) / 60, mode='tensor')
            logits = torch.nn.functional.interpolate(logits, (32, 64), mode='bilinear')
            assert np.array_equal(scene.predictions[index], logits.argmax(1)[0].numpy())


def test_compare_runs_writes_a_page(trained, tmp_path):
    """Work folders in, page and table out; a page that is there is found before the networks are loaded."""
    (trained[0] / 'scores.json').write_text(json.dumps({'protocols': make_scores()}))
    (trained[1] / 'scores.json').write_text(json.dumps({'protocols': make_scores(1.5)}))
    path, table = compare_runs(trained, tmp_path / 'report.html', names=['Plain', 'Other'], device='cpu', title='Both')
    page = Page(path.read_text())
    assert page.tags.count('img') == 15
    assert 'One training run each' in page.text
    assert table.splitlines()[2].split() == ['Plain', '41.23', '42.23', '43.23']
    assert table.splitlines()[4].split() == ['Difference', '+1.50', '+1.50', '+1.50']
    with pytest.raises(FileExistsError, match='--overwrite'):
        compare_runs([tmp_path / 'none'] * 2, path)


# --- a browser -------------------------------------------------------------------------------------------------------

FLAGS = [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--hide-scrollbars',
]


def find_browser():
    return next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)


def browse(page, folder, *flags):
    profile = folder / f'profile{len(list(folder.iterdir()))}'
    command = [find_browser(), *FLAGS, f'--user-data-dir={profile}', *flags, page.as_uri()]
    environment = {**os.environ, 'HOME': str(folder)}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=environment).stdout


def screenshot(page, folder, width, *flags):
    target = folder / f'shot{width}.png'
    browse(page, folder, f'--window-size={width},2400', f'--screenshot={target}', *flags)
    return np.asarray(Image.open(target).convert('RGB'))


def share(picture, colour):
    return float((np.abs(picture.astype(int) - colour).max(-1) <= 2).mean())


@pytest.mark.skipif(find_browser() is None, reason='no chromium, chromium-browser or google-chrome on this machine')
def test_a_browser_draws_the_page(runs, tmp_path):
    """The page in a real browser: neither blank, nor without its style, nor wider than a narrow screen."""
    scene = Scene('flat', np.full((64, 128, 3), (10, 200, 30), np.uint8), np.zeros((64, 128), np.uint8), [
        np.zeros((64, 128), np.uint8), np.ones((64, 128), np.uint8)])  # fmt: skip
    page = write_report(tmp_path / 'page.html', render_report(runs, Pictures(CLASSES, PALETTE, [scene])))
    wide = screenshot(page, tmp_path, 1280)
    assert wide.shape == (2400, 1280, 3)
    assert share(wide, (247, 246, 242)) > 0.2  # the page
    assert share(wide, (255, 255, 255)) > 0.2  # the cards
    for colour in ((62, 106, 168), (217, 93, 12), (10, 200, 30), PALETTE[0], PALETTE[1], ONLY_FIRST):
        assert share(wide, colour) > 1e-4, f'{colour} is not on the page'
    narrow = screenshot(page, tmp_path, 500)
    assert share(narrow[:, -12:], (247, 246, 242)) > 0.99  # the margin is free: nothing sticks out
    document = browse(page, tmp_path, '--dump-dom')
    assert [row for row in Page(document).rows if row[-3:] == ['41.23', '42.23', '43.23']]


@pytest.mark.skipif(find_browser() is None, reason='no chromium, chromium-browser or google-chrome on this machine')
def test_dark_theme(runs, tmp_path):
    """Dark text on a dark page where the style names a colour for one theme only."""
    page = write_report(Path(tmp_path) / 'page.html', render_report(runs))
    dark = screenshot(page, tmp_path, 1280, '--force-dark-mode', '--blink-settings=preferredColorScheme=0')
    assert share(dark, (19, 21, 25)) > 0.2
    assert share(dark, (233, 231, 225)) > 1e-3  # text
    assert dark.mean() < 60
