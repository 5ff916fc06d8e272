"""The report on a sweep: it shows what it was given, says what the numbers say, and needs nothing from outside."""

import base64
import json
import math
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from demo.report import Record, load_record, render
from demo.report.charts import DARK, LIGHT, Line, draw_differences, draw_lines
from demo.report.page import over_seeds
from demo.report.pictures import BOTH, NEITHER, ONLY_FIRST, ONLY_SECOND, compare, shares
from demo.report.records import config_differences, curve, flatten, read_scalars
from demo.report.sheet import draw_sheet
from demo.report.verdict import number, seeds_needed, signed, summary
from mmseg_isda.commands.statistics import paired_difference, summarize
from mmseg_isda.errors import MissingPathError, OptionError, UserError

HOSTILE = '<script>alert("1")</script>&amp;\'"{{ 7 * 7 }}'
CLASSES = ['road', 'sky', 'train']
PALETTE = [[128, 64, 128], [70, 130, 180], [0, 80, 100]]
PLAIN, ISDA = {0: 40.0, 1: 42.5, 2: 41.0}, {0: 41.0, 1: 43.0, 2: 43.5}
VOID_ELEMENTS = {'meta', 'img', 'br'}


class Page(HTMLParser):
    """Rows of tables, attributes and text of a page; fails on an element that is not closed in order."""

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

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f'</{tag}> closes something else'

    def handle_data(self, data):
        if 'style' in self.open:
            return
        self.words.append(data)
        if 'td' in self.open or 'th' in self.open:
            self.rows[-1][-1] += data.strip()

    @property
    def text(self):
        return ' '.join(''.join(self.words).split())


def make_comparison(scores=ISDA, names=('plain', 'isda'), **changes):
    difference = paired_difference(scores, PLAIN)
    entries = [
        {'name': names[0], 'config': 'plain.py', 'settings': {}, 'difference': None},
        {'name': names[1], 'config': 'isda.py', 'settings': {}, 'difference': vars(difference)},
    ]
    for entry, own in zip(entries, (PLAIN, scores), strict=True):
        entry |= {'seeds': list(own), 'scores': list(own.values()), **vars(summarize(list(own.values())))}
    runs = [
        {'variant': name, 'seed': seed, 'folder': f'runs/{name}/seed_{seed}', 'score': 1, 'seconds': 60, 'error': None}
        for name in names
        for seed in PLAIN
    ]
    about = {'metric': 'mIoU', 'scored_on': 'test', 'interval': '95 % of t', 'notes': [], 'best': None}
    return {**about, 'baseline': names[0], 'variants': entries, 'runs': runs, **changes}


def make_scalars(isda=False):
    steps = range(20, 101, 20)
    found = {'loss': [(s, 3 - s / 100) for s in steps], 'mIoU': [(50, 30.0), (100, 41.0)]}
    if isda:
        found |= {'decode_head.isda_lambda': [(s, s / 100) for s in steps]}
        found |= {'decode_head.isda_margin': [(s, 6 - s / 100) for s in steps]}
        found |= {'decode_head.isda_shift': [(s, s / 50) for s in steps], 'aux.isda_shift': [(s, 99.0) for s in steps]}
    return found


def make_predictions(folder, names=('plain', 'isda'), scene='birchley', classes=CLASSES):
    rng = np.random.default_rng(0)
    files = {}
    for name, high in (('image', 256), ('truth', 2), ('first', 3), ('second', 3)):
        shape = (16, 32, 3) if name == 'image' else (16, 32)
        files[name] = f'{name}.png'
        cv2.imwrite(str(folder / files[name]), rng.integers(0, high, shape, dtype=np.uint8))
    picture = {'name': scene, 'image': files['image'], 'truth': files['truth']}
    picture['predictions'] = dict(zip(names, (files['first'], files['second']), strict=True))
    values = {names[0]: (90.0, 80.0, None), names[1]: (91.0, 79.5, None)}
    return {
        'kind': 'pixels',
        'classes': list(classes),
        'palette': PALETTE,
        'shown': list(names),
        'runs': [{'variant': n, 'seed': s, 'scores': [v and v + s for v in values[n]]} for n in names for s in (0, 1)],
        'right': [{'seed': s, 'both': 70.0 + s, 'first': 8.0, 'second': 9.0, 'neither': 13.0 - s} for s in (0, 1)],
        'pictures': [picture],
    }


@pytest.fixture(scope='module')
def record(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp('predictions')
    return Record(
        comparison=make_comparison(),
        titles={'plain': 'cross entropy', 'isda': 'ISDA'},
        scalars={'plain': [make_scalars()] * 3, 'isda': [make_scalars(isda=True)] * 3},
        settings={'plain': {'train_cfg.max_iters': '100', 'loss': 'ce'}, 'isda': {'train_cfg.max_iters': '100'}},
        predictions=make_predictions(tmp_path),
        folder=tmp_path,
    )


@pytest.fixture(scope='module')
def html(record):
    return render(record, title='t', footer='f')


# --- the page --------------------------------------------------------------------------------------------------------


def test_page_is_well_formed_and_asks_for_nothing_outside(html):
    """A page that links a style sheet, font or picture is broken offline and tells others that it is read."""
    page = Page(html)
    loaded = [value for _, key, value in page.attributes if key in ('src', 'srcset', 'data', 'poster', 'action')]
    assert len(loaded) == 1 + 5 + 5, 'differences, curves, panels of a scene'
    assert all(re.match(r'data:image/(png|jpeg|svg\+xml);base64,', value) for value in loaded)
    assert not {'script', 'link', 'iframe', 'object', 'base'} & set(page.tags)
    assert not [key for _, key, _ in page.attributes if key in ('href', 'xlink:href') or key.startswith('on')]
    assert '://' not in html and 'url(' not in html and '@import' not in html
    assert all(value for tag, key, value in page.attributes if (tag, key) == ('img', 'alt'))
    assert page.tags.count('img') == sum((tag, key) == ('img', 'alt') for tag, key, _ in page.attributes)


def test_page_is_the_same_each_time(record, html):
    """Random ids or an order of hashes would make two pages on the same runs differ."""
    assert render(record, title='t', footer='f') == html


def test_differences_come_first(html):
    """The order that a reader needs: is there a difference, what happened in training, what does it look like."""
    places = [html.index(f'id="{name}"') for name in ('differences', 'curves', 'right', 'classes', 'setup')]
    assert places == sorted(places)


def test_everything_is_escaped(tmp_path):
    """A name from a config or a folder that is taken for HTML breaks the page, or runs in it."""
    names = (HOSTILE, HOSTILE + '2')
    record = Record(
        comparison=make_comparison(names=names, metric=HOSTILE, interval=HOSTILE, scored_on=HOSTILE, notes=[HOSTILE]),
        titles=dict(zip(names, names, strict=True)),
        scalars={name: [make_scalars()] for name in names},
        settings={names[0]: {HOSTILE: HOSTILE}, names[1]: {'train_cfg.max_iters': HOSTILE}},
        predictions=make_predictions(tmp_path, names, scene=HOSTILE, classes=[HOSTILE, 'b', 'c']),
        folder=tmp_path,
    )
    html = render(record, title=HOSTILE, note=HOSTILE, footer=HOSTILE)
    page = Page(html)
    assert '<script' not in html
    assert not [key for _, key, _ in page.attributes if not re.fullmatch(r'[a-zA-Z0-9:-]+', key)]
    assert page.text.count(HOSTILE) >= 20
    assert sum('<script' in (value or '') for _, _, value in page.attributes) >= 3


def test_scores_and_differences_are_those_of_the_sweep(html):
    """Columns or runs once swapped would go unseen."""
    rows = Page(html).rows
    assert ['0', '40.00', '41.00', '+1.00'] in rows
    assert ['2', '41.00', '43.50', '+2.50'] in rows
    assert ['Mean', '41.17', '42.50', '+1.33'] in rows
    assert ['Standard deviation', '1.26', '1.32', '1.04'] in rows


def test_interval_is_that_of_the_paired_t_test(html):
    """The interval that is shown and judged, against SciPy's own test of the differences."""
    stats = pytest.importorskip('scipy.stats')
    differences = np.array(list(ISDA.values())) - np.array(list(PLAIN.values()))
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    page = Page(html)
    shown = f'{signed(low)} to {signed(high)}'
    assert next(row for row in page.rows if row[0] == '95 % interval')[-1] == shown
    assert f'95 % interval from {shown}' in page.text


def test_who_is_right_is_the_mean_over_seeds(html):
    """Mean and spread of two seeds, 70 and 71, written out."""
    text = Page(html).text
    assert 'both: 70.50 % (standard deviation 0.71)' in text
    assert 'only cross entropy: 8.00 %' in text and 'only ISDA: 9.00 %' in text


def test_class_rows(html):
    """A class that never occurs has no score: neither 'nan' nor 'None' nor 0.00 may stand there."""
    page = Page(html)
    rows = {row[0]: row[2:] for row in page.rows if row and row[0] in CLASSES}
    assert rows['road'] == ['90.50', '91.50', '+1.00', '+1.00 to +1.00']
    assert rows['sky'][:3] == ['80.50', '80.00', '\u22120.50']
    assert rows['train'] == ['\u2013'] * 4
    assert not re.search(r'\b(nan|None)\b', page.text)


def test_bars_are_as_long_as_the_values(html):
    assert html.count('--v: 90.50%') == 1 and html.count('--v: 80.50%') == 1 and html.count('--v: 0.00%') == 2


def test_where_configs_differ(html):
    page = Page(html)
    assert ['loss', 'ce', '\u2013'] in page.rows and 'Where the configs differ (1)' in page.text
    assert ['Iterations', '100', '100'] in page.rows


def test_loss_remark_only_where_the_losses_differ(record, html):
    """The remark that losses cannot be compared is wrong for two runs with the same loss."""
    remark = 'says nothing about the fit'
    assert remark in html
    same = Record(record.comparison, record.titles, {'plain': [make_scalars()], 'isda': [make_scalars()]})
    assert remark not in render(same, title='t')


def test_a_sweep_without_pictures_curves_or_a_pair(record):
    """What is missing is left out, or said."""
    bare = render(Record(record.comparison, record.titles), title='t')
    assert 'id="curves"' not in bare and Page(bare).tags.count('img') == 1
    lone = make_comparison()
    lone['variants'][1] |= {'difference': None, 'seeds': [9], 'scores': [50.0]}
    text = Page(render(Record(lone, record.titles), title='t')).text
    assert 'no seed in common' in text


def test_single_labels_are_shown_as_digits(record, tmp_path):
    """Each item names the truth and what both networks say, the wrong one struck out."""
    cv2.imwrite(str(tmp_path / 'digit.png'), np.arange(64, dtype=np.uint8).reshape(8, 8))
    predictions = make_predictions(tmp_path) | {'kind': 'images', 'palette': None}
    predictions['pictures'] = [
        {'name': 'image 3', 'image': 'digit.png', 'truth': 1, 'predictions': {'plain': 1, 'isda': 2}}
    ]
    html = render(Record(record.comparison, record.titles, predictions=predictions, folder=tmp_path), title='t')
    assert re.search(r'<b>sky</b>.*<span class="">sky</span>.*<span class="wrong">train</span>', html, re.DOTALL)


# --- the verdict -----------------------------------------------------------------------------------------------------


def entries(scores):
    return make_comparison(scores=scores)['variants'][::-1]


@pytest.mark.parametrize(
    ('scores', 'expected'),
    [
        ({0: 41.0, 1: 43.6, 2: 42.1}, 'lies above zero: in this setting ISDA scores higher'),
        ({0: 39.0, 1: 41.4, 2: 39.9}, 'lies below zero: in this setting ISDA scores lower'),
        ({0: 41.0, 1: 42.0, 2: 41.5}, 'contains zero: these runs do not show a difference'),
        ({0: 41.0}, 'one pair does not tell which is better'),
        ({5: 41.0}, 'no seed in common'),
    ],
)
def test_sentences_say_what_the_numbers_say(scores, expected):
    """A text that was written in advance praises whatever comes out."""
    entry, baseline = entries({0: 41.0}) if 5 in scores else entries(scores)
    if 5 in scores:
        entry['difference'] = None
    text = ' '.join(summary(entry, baseline, {'plain': 'cross entropy', 'isda': 'ISDA'}, 'mIoU'))
    assert expected in text
    assert ('contains zero' in text) == ('contains zero' in expected)


def test_seeds_needed():
    """Differences of mean 1 and deviation 3: the half width 2 * 3 / sqrt(36) is 1."""
    assert seeds_needed(1.0, 3.0) == 36
    assert seeds_needed(0.0, 3.0) is None


@pytest.mark.parametrize(
    ('value', 'plain', 'with_sign'),
    [
        (1.234, '1.23', '+1.23'),
        (-1.2, '\u22121.20', '\u22121.20'),
        (-0.001, '0.00', '0.00'),
        (0.001, '0.00', '0.00'),
        (None, '\u2013', '\u2013'),
        (math.nan, '\u2013', '\u2013'),
    ],
)
def test_figures(value, plain, with_sign):
    """-0.00 and +0.00 look like a result; nan looks like a fault of the page."""
    assert (number(value), signed(value)) == (plain, with_sign)


# --- curves and charts -----------------------------------------------------------------------------------------------


def test_curves_are_mean_and_deviation_over_seeds():
    """Two seeds at a step that both have; a step that one lacks would bend the mean."""
    line = over_seeds([[(1, 1.0), (2, 5.0)], [(1, 3.0)]], 'a')
    assert (line.steps.tolist(), line.mean.tolist()) == ([1], [2.0])
    assert line.std == pytest.approx([math.sqrt(2)])
    assert over_seeds([[], []], 'a') is None
    assert over_seeds([[(1, 1.0)]], 'a').std.tolist() == [0.0]


def test_curve_takes_the_main_head():
    """The auxiliary head's curve in place of the main one's."""
    assert curve(make_scalars(isda=True), 'isda_shift')[-1] == (100, 2.0)
    assert curve(make_scalars(), 'isda_lambda') == []


def svg_of(uri):
    return base64.b64decode(uri.removeprefix('data:image/svg+xml;base64,')).decode()


def test_charts_follow_the_theme_and_stand_alone():
    """A chart with fixed colors is unreadable in the dark theme; one with an address is no part of the page."""
    line = Line('b', np.array([1, 2]), np.array([1.0, 2.0]), np.array([0.1, 0.1]))
    for svg in map(
        svg_of,
        (draw_lines([line], x_label='x', markers=True), draw_differences([('b', [1.0, 2.0], 1.5, 1.0, 2.0)], 'mIoU')),
    ):
        assert 'stroke: var(--b)' in svg and DARK['b'] in svg and LIGHT['b'] in svg
        assert svg.count(LIGHT['b']) == 1, 'in the declaration of the variable alone'
        assert svg.startswith('<svg') and '<image' not in svg and 'href="http' not in svg


def test_difference_chart_without_an_interval():
    """One seed has a dot and a mean, and no bar."""
    assert 'stroke-width: 3' not in svg_of(draw_differences([('a', [1.0], 1.0, None, None)], 'm'))


# --- pictures --------------------------------------------------------------------------------------------------------


def test_map_of_who_is_right():
    """The colors are the message: each case has its own, and what is not scored is nobody's fault."""
    truth = np.array([[0, 0, 0, 0, 255]], np.uint8)
    first, second = np.array([[0, 0, 1, 1, 1]], np.uint8), np.array([[0, 1, 0, 1, 0]], np.uint8)
    image = np.full((1, 5, 3), 144, np.uint8)
    shown = np.asarray(compare(image, truth, first, second))[0].tolist()
    assert shown == [list(BOTH), list(ONLY_FIRST), list(ONLY_SECOND), list(NEITHER), list(BOTH)]
    assert shares(truth, first, second) == (50.0, 50.0, 25.0, 25.0)


def test_sheet_has_a_row_for_each_image(record, tmp_path):
    """The picture of the README: headings above, five panels a row; digits have no label maps to show."""
    draw_sheet(record, tmp_path / 'sheet.png', rows=1)
    assert cv2.imread(str(tmp_path / 'sheet.png')).shape[1] == 1300
    digits = Record(record.comparison, record.titles, predictions={**record.predictions, 'kind': 'images'})
    with pytest.raises(OptionError, match='single labels'):
        draw_sheet(digits, tmp_path / 'other.png')


# --- records ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A sweep on disk."""
    comparison = make_comparison()
    for run in comparison['runs']:
        run['folder'] = str(tmp_path / run['folder'])
        logs = tmp_path / run['folder'] / '20260101_000000' / 'vis_data'
        logs.mkdir(parents=True)
        (logs / 'scalars.json').write_text('{"loss": 2.0, "step": 10}\n')
        (logs.parents[1] / 'config.py').write_text('model = dict(depth=18)')
    (tmp_path / 'sweep.json').write_text(json.dumps(comparison))
    return tmp_path


def test_record_of_a_sweep(folder):
    record = load_record(folder / 'sweep.json', titles=['cross entropy', 'ISDA'])
    assert record.titles == {'plain': 'cross entropy', 'isda': 'ISDA'}
    assert [entry['name'] for entry in record.variants] == ['plain', 'isda']
    assert record.scalars['isda'] == [{'loss': [(10, 2.0)], 'step': [(10, 10.0)]}] * 3
    assert record.settings['plain'] == {'model.depth': '18'}


def remove_sweep(folder):
    (folder / 'sweep.json').unlink()


def damage_sweep(folder):
    (folder / 'sweep.json').write_text('{"runs": [')


def strip_sweep(folder):
    (folder / 'sweep.json').write_text('{"runs": []}')


def remove_log(folder):
    next(folder.glob('runs/isda/seed_1/*/vis_data/scalars.json')).unlink()


def remove_config(folder):
    (folder / 'runs/isda/seed_0/config.py').unlink()


@pytest.mark.parametrize('damage', [remove_sweep, damage_sweep, strip_sweep, remove_log, remove_config])
def test_missing_records_are_errors_of_one_line(folder, damage):
    """A traceback where one line says which file is missing and who writes it."""
    damage(folder)
    with pytest.raises(UserError) as error:
        load_record(folder / 'sweep.json')
    assert str(folder) in str(error.value) and '\n' not in str(error.value)


def test_missing_predictions_and_titles(folder):
    with pytest.raises(MissingPathError, match=r'predictions.*does not exist; python -m demo\.predict writes them'):
        load_record(folder / 'sweep.json', predictions=folder / 'none')
    with pytest.raises(OptionError, match='a title for each of 2 variants, got 1'):
        load_record(folder / 'sweep.json', titles=['one'])


def test_a_run_that_failed_is_left_out(folder):
    """It has no log to read."""
    comparison = json.loads((folder / 'sweep.json').read_text())
    comparison['runs'][0] |= {'error': 'killed', 'folder': 'nowhere'}
    (folder / 'sweep.json').write_text(json.dumps(comparison))
    assert len(load_record(folder / 'sweep.json').scalars['plain']) == 2


def test_scalars_of_a_resumed_run(tmp_path):
    """A resumed run repeats steps: the last value holds. A line that was cut off and NaN are no points."""
    for start, text in (
        ('20260101', '{"loss": 3.0, "step": 1}\n{"loss": 2.0, "step": 2}\n{"loss": 9'),
        ('20260102', '{"loss": 1.5, "step": 2}\n{"loss": NaN, "step": 3}\n{"loss": 1.0, "step": 4}\n'),
    ):
        (tmp_path / start / 'vis_data').mkdir(parents=True)
        (tmp_path / start / 'vis_data' / 'scalars.json').write_text(text)
    assert read_scalars(tmp_path)['loss'] == [(1, 3.0), (2, 1.5), (4, 1.0)]


def test_differences_of_configs():
    """Nested settings by their path; where a run was and its seed are no difference."""
    first = flatten({'model': {'head': [{'type': 'A'}, {'type': 'B'}]}, 'work_dir': 'x', 'lr': [1, 2]})
    second = flatten({'model': {'head': [{'type': 'A'}, {'type': 'C'}]}, 'work_dir': 'y', 'lr': [1, 2], 'new': 1})
    assert config_differences([first, second]) == [('model.head.1.type', ["'B'", "'C'"]), ('new', [None, '1'])]
