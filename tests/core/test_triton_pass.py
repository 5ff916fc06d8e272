"""The Triton kernels against float64 autograd and the banded pass: on a GPU if there is one, else interpreted."""

import itertools
import os
import subprocess
import sys

import pytest
import torch

from mmseg_isda.core import triton_pass as module
from mmseg_isda.core.bands import Settings, Wanted
from mmseg_isda.core.fused import fused_cross_entropy
from mmseg_isda.core.triton_pass import triton_available, triton_pass

from .fused_reference import IGNORE, make_case, plain_logits, reference, worst_error

pytest.importorskip('triton', reason='the kernels need Triton')
DEVICE = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
if not triton_available(DEVICE):
    pytest.skip('needs a GPU, or TRITON_INTERPRET=1 before Triton is imported', allow_module_level=True)
TOLERANCE = 1e-6 if DEVICE.type == 'cpu' else 3e-6  # A GPU takes powers of two to 22 bits.
SMALL = {'low': (2, 3), 'high': (5, 8)}  # The interpreter takes some 20 ms a tile.


def run(case, weights, *, at_label=False, align_corners=False, ignore_index=IGNORE, band_bytes=1 << 20, **wanted):
    """What the kernels make of a case, on the CPU."""
    wanted = Wanted(**{'per_pixel': False, 'hits': True, 'logits_grad': True, 'shift_grad': True, **wanted})
    tensors = [case['logits'], case['labels'], case['shift'], weights.get('weight'), weights.get('class_weight')]
    tensors = [None if tensor is None else tensor.detach().to(DEVICE) for tensor in tensors]
    settings = Settings(align_corners, at_label, ignore_index, band_bytes)
    return [made.cpu() for made in triton_pass(*tensors, settings, wanted)]


def truth(case, weights, *, at_label=False, align_corners=False, ignore_index=IGNORE, per_pixel=False):
    """The same from float64 autograd."""
    augment_at = 'label' if at_label else 'feature'
    options = {'augment_at': augment_at, 'align_corners': align_corners, 'ignore_index': ignore_index, **weights}
    loss = reference(**case, reduction='none' if per_pixel else 'sum', **options)
    inputs = [case[name] for name in ('logits', 'shift') if case[name] is not None]
    grads = torch.autograd.grad(loss.sum(), inputs)
    plain = plain_logits(case['logits'].detach(), case['labels'], None, align_corners, augment_at)
    labels, valid = case['labels'], case['labels'] != ignore_index
    own = plain.gather(1, labels.where(valid, 0).unsqueeze(1)).squeeze(1)
    return [loss, ((own >= plain.amax(1)) & valid).sum(), *grads]


def compare(case, weights, tolerance=TOLERANCE, band_bytes=1 << 20, **options):
    expected = truth(case, weights, **options)
    made = run(case, weights, band_bytes=band_bytes, **options)[: len(expected)]
    for a, b in zip(made, expected, strict=True):
        assert a.dtype == torch.float32
        assert a.shape == b.shape
        assert worst_error(a, b) <= tolerance


def make_small(**options):
    return make_case(**{'dtype': torch.float32, **SMALL, **options})


@pytest.mark.parametrize('per_pixel', [False, True])
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('at_label', [False, True])
def test_options(at_label, align_corners, per_pixel):
    """Guards the whole contract: placement, alignment, both weights, the sum and the map."""
    case, weights = make_small()
    options = {'at_label': at_label, 'align_corners': align_corners, 'per_pixel': per_pixel}
    compare(case, weights if per_pixel else {}, **options)


@pytest.mark.parametrize('name', ['weight', 'class_weight'])
def test_one_weight(name):
    """Guards each weight alone, and that weights may be negative, as gradients of a map of losses are."""
    case, weights = make_small()
    compare(case, {name: weights[name] - 0.7}, at_label=True)


def test_without_shift():
    """Guards the plain cross entropy."""
    case, weights = make_small()
    compare({**case, 'shift': None}, weights)


@pytest.mark.parametrize('at_label', [False, True])
def test_equals_the_banded_pass(at_label):
    """Guards against two implementations that mean different things."""
    case, weights = make_small(seed=3, images=1)
    loss, accuracy = fused_cross_entropy(
        **case,
        **weights,
        align_corners=True,
        augment_at='label' if at_label else 'feature',
        reduction='sum',
        return_accuracy=True,
    )
    grads = torch.autograd.grad(loss, [case['logits'], case['shift']])
    hits = accuracy / 100 * (case['labels'] != IGNORE).sum()
    made = run(case, weights, at_label=at_label, align_corners=True)
    for a, b in zip(made, (loss, hits, *grads), strict=True):
        assert worst_error(a, b) <= TOLERANCE


@pytest.mark.parametrize('reduction', ['mean', 'none'])
def test_chosen_by_name(reduction):
    """Guards the way from the public function to the kernels and back, and a second pass for a map of losses."""
    case, weights = make_small(images=1)
    options = {'align_corners': False, 'augment_at': 'label', 'reduction': reduction}
    inputs = {name: value.detach().to(DEVICE) for name, value in {**case, **weights}.items()}
    for name in ('logits', 'shift'):
        inputs[name].requires_grad_()
    loss = fused_cross_entropy(**inputs, **options, implementation='triton')
    expected = reference(**case, **weights, **options)
    assert worst_error(loss.cpu(), expected) <= TOLERANCE
    made = torch.autograd.grad(loss.square().sum(), [inputs['logits'], inputs['shift']])
    expected_grads = torch.autograd.grad(expected.square().sum(), [case['logits'], case['shift']])
    for grad, expected_grad in zip(made, expected_grads, strict=True):
        assert worst_error(grad.cpu(), expected_grad) <= 2 * TOLERANCE


@pytest.mark.parametrize(('classes', 'at_label'), [(1, True), (2, False), (3, True), (19, False), (33, True)])
def test_number_of_classes(classes, at_label):
    """Guards blocks of classes of which the last is not full, and fewer classes than a block."""
    case, weights = make_small(classes=classes, images=1, low=(2, 2), high=(5, 6))
    compare(case, weights, at_label=at_label)


@pytest.mark.slow
@pytest.mark.parametrize('at_label', [False, True])
def test_many_classes(at_label):
    """Guards the same with several wide blocks."""
    case, weights = make_small(classes=150, images=1, low=(2, 2), high=(5, 6))
    compare(case, weights, at_label=at_label)


SIZES = [((1, 1), (5, 7)), ((1, 3), (1, 9)), ((6, 5), (4, 3)), ((2, 1), (23, 3)), ((2, 2), (4, 20))]


@pytest.mark.parametrize(('low', 'high', 'align_corners'), [(*pair, i % 2 == 0) for i, pair in enumerate(SIZES)])
def test_sizes(low, high, align_corners):
    """Guards the edges: single pixels, down-sampling, odd ratios, cells of several tiles and cells without any."""
    case, weights = make_small(images=1, classes=3, low=low, high=high)
    compare(case, weights, align_corners=align_corners)


@pytest.mark.slow
@pytest.mark.parametrize('at_label', [False, True])
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(('low', 'high'), [*SIZES, ((3, 4), (3, 4)), ((4, 5), (17, 23)), ((3, 3), (17, 17))])
def test_all_sizes(low, high, align_corners, at_label):
    """Guards the same with each alignment and placement, and the usual ratios."""
    case, weights = make_small(images=2, classes=3, low=low, high=high)
    compare(case, weights, align_corners=align_corners, at_label=at_label)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_computed_in_float32(dtype):
    """Guards against a softmax in half precision."""
    case, weights = make_small(images=1)
    case['logits'] = case['logits'].detach().to(dtype).float().requires_grad_()
    expected = run(case, weights)
    case['logits'] = case['logits'].detach().to(dtype)
    assert all(torch.equal(a, b) for a, b in zip(run(case, weights), expected, strict=True))


@pytest.mark.parametrize('at_label', [False, True])
def test_all_pixels_ignored(at_label):
    """Guards 0 / 0 and the maximum over nothing: loss, hits and gradients are zero."""
    case, weights = make_small(images=1)
    case['labels'] = torch.full_like(case['labels'], IGNORE)
    assert not any(made.any() for made in run(case, weights, at_label=at_label))


@pytest.mark.parametrize('chunk', [16, 64])
def test_chunks_of_sorted_pixels(chunk, monkeypatch):
    """Guards labels that span chunks, chunks that span labels, and classes of which there is no pixel."""
    monkeypatch.setattr(module, 'CHUNK', chunk)
    case, weights = make_small(classes=9)
    for absent in (0, 3, 4, 8):
        case['labels'][case['labels'] == absent] = 6
    compare(case, weights, at_label=True)


def test_groups_of_images():
    """Guards the borders between groups, and that they change no bit where no sum reaches over them."""
    case, weights = make_small(images=2, low=(2, 2), high=(5, 6))
    for at_label in (False, True):
        together = run(case, weights, at_label=at_label)
        apart = run(case, weights, at_label=at_label, band_bytes=1)
        assert all(torch.equal(a, b) for a, b in zip(together[:3], apart[:3], strict=True))
        assert worst_error(apart[3], together[3]) <= TOLERANCE


@pytest.mark.parametrize('at_label', [False, True])
def test_same_bits_each_time(at_label):
    """Guards against sums whose order depends on which program ends first."""
    case, weights = make_small(**({'images': 1} if DEVICE.type == 'cpu' else {'low': (33, 33), 'high': (257, 257)}))
    first, second = (run(case, weights, at_label=at_label) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.filterwarnings('ignore::RuntimeWarning')  # NumPy's, about lanes beyond the last class.
@pytest.mark.parametrize('at_label', [False, True])
def test_extreme_logits(at_label):
    """Guards against overflow, underflow of a whole pixel, and a common offset that eats the digits."""
    case, _ = make_small(spread=200.0, images=1)
    case['logits'] = (case['logits'].detach() + 1e4).requires_grad_()
    made, expected = run(case, {}, at_label=at_label), truth(case, {}, at_label=at_label)
    assert worst_error(made[0], expected[0]) <= TOLERANCE
    for a, b in zip(made[2:], expected[2:], strict=True):
        assert worst_error(a, b) <= 1e-4


def test_ties_are_hits():
    """Guards the rule of the accuracy: a label that shares the first place is right, whatever its rank."""
    case, weights = make_small(images=1)
    case['logits'] = torch.zeros_like(case['logits'])
    for at_label in (False, True):
        _, hits, *_ = run(case, weights, at_label=at_label)
        assert hits == (case['labels'] != IGNORE).sum()


@pytest.mark.parametrize('at_label', [False, True])
def test_only_what_is_wanted(at_label):
    """Guards frozen inputs and evaluation: what is not wanted stays empty, the rest is the same."""
    case, weights = make_small(images=1)
    full = run(case, weights, at_label=at_label)
    for logits_grad, shift_grad in itertools.product((False, True), repeat=2):
        flags = {'hits': shift_grad, 'logits_grad': logits_grad, 'shift_grad': shift_grad}
        made = run(case, weights, at_label=at_label, **flags)
        assert torch.equal(made[0], full[0])
        assert made[1] == (full[1] if shift_grad else 0)
        for grad, expected, is_wanted in zip(made[2:], full[2:], (logits_grad, shift_grad), strict=True):
            assert torch.equal(grad, expected) if is_wanted else grad.shape == (0,)


@pytest.mark.parametrize('ignore_index', [-100, 3])
def test_ignore_index_may_be_negative_or_a_class(ignore_index):
    """Guards against taking only 255 for ignored."""
    case, weights = make_small()
    case['labels'] = case['labels'].masked_fill(case['labels'] == IGNORE, ignore_index)
    case['shift'] = case['shift'].detach().index_fill(0, torch.tensor([max(ignore_index, 0)]), 0).requires_grad_()
    made = run(case, weights, ignore_index=ignore_index)
    for a, b in zip(made[:3], truth(case, weights, ignore_index=ignore_index)[:3], strict=True):
        assert worst_error(a, b) <= TOLERANCE


@pytest.mark.parametrize('at_label', [False, True])
def test_labels_out_of_range_count_as_ignored_on_a_gpu(at_label, monkeypatch):
    """Guards against reads beyond the ends of the table, the class weights and the logits."""
    monkeypatch.setattr(module, 'check_labels', lambda *_: None)
    case, weights = make_small(images=1)
    bad = torch.tensor([5, -1, 1 << 20, (1 << 32) + 1])
    case['labels'].flatten()[::5] = IGNORE
    ignored = run(case, weights, at_label=at_label)
    holes = case['labels'] == IGNORE
    case['labels'][holes] = bad[torch.arange(int(holes.sum())) % len(bad)]
    assert all(torch.equal(a, b) for a, b in zip(run(case, weights, at_label=at_label), ignored, strict=True))


@pytest.mark.skipif(DEVICE.type != 'cpu', reason='a GPU would have to wait for the labels')
def test_bad_label_is_named():
    """Guards the message where it costs no wait."""
    case, weights = make_small()
    case['labels'][1, 2, 3] = 7
    with pytest.raises(ValueError, match='value 7'):
        run(case, weights)


def test_memory_layout_does_not_matter():
    """Guards views and strides, labels of other types, and the caller's tensors."""
    case, weights = make_small(images=1)
    expected = run(case, weights, at_label=True)
    odd = {
        'logits': case['logits'].detach().clone(memory_format=torch.channels_last),
        'labels': torch.stack([case['labels'], case['labels']], -1)[..., 0].to(torch.uint8),
        'shift': case['shift'].detach().t().contiguous().t(),
    }
    odd_weights = {**weights, 'weight': weights['weight'].transpose(1, 2).contiguous().transpose(1, 2)}
    before = [tensor.clone() for tensor in odd.values()]
    made = run(odd, odd_weights, at_label=True)
    assert all(torch.equal(a, b) for a, b in zip(made, expected, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(odd.values(), before, strict=True))


def test_no_images():
    """Guards an empty batch, as the last one of a rank may be."""
    case, weights = make_small()
    case, weights['weight'] = {**case, 'logits': case['logits'][:0], 'labels': case['labels'][:0]}, None
    loss, hits, logits_grad, shift_grad = run(case, weights, at_label=True)
    assert loss == 0 and hits == 0 and logits_grad.shape == case['logits'].shape and not shift_grad.any()


def test_float64_is_refused():
    """Guards against float64 logits that come back with the accuracy of float32."""
    case, weights = make_small(dtype=torch.float64)
    with pytest.raises(TypeError, match=r'float64.*banded'):
        run(case, weights)


def test_missing_triton_is_named(monkeypatch):
    """Guards core without Triton: it says so when asked, and names what is missing when used."""
    monkeypatch.setattr(module, 'find_spec', lambda _: None)
    assert not triton_available() and not triton_available(DEVICE)
    case, weights = make_small()
    with pytest.raises(RuntimeError, match='need a CUDA device and the package triton'):
        run(case, weights)


COMPILE = """
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from mmseg_isda.core import triton_kernels as kernels

KINDS = dict.fromkeys('labels order begins'.split(), '*i64')
KINDS |= dict.fromkeys('tiles_y tiles_x starts_y starts_x cells_y cells_x'.split(), '*i32') | {'sorted_labels': '*i16'}
KINDS |= dict.fromkeys('logits plain table weight class_weight weights_y weights_x loss_map losses hits highest_map '
                       'scale_map partials grad'.split(), '*fp32')

def check(kernel, constants, number=None):
    constants = {**constants}
    if number is not None:
        constants |= {name: number for name in kernel.arg_names if name not in KINDS and name not in constants}
    signature = {name: 'constexpr' if name in constants else KINDS.get(name, 'i32') for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    made = compile(source, target=GPUTarget('cuda', 90, 32), options={'num_warps': 1})
    assert 'cubin' in made.asm and 'atom' not in made.asm['ptx'] and 'tf32' not in made.asm['ptx']

block = {'BLOCK_Y': 8, 'BLOCK_X': 8, 'BLOCK_C': 8}
for absent in ((), ('plain', 'table', 'weight', 'class_weight', 'loss_map', 'highest_map', 'scale_map'),
               ('table', 'losses', 'highest_map', 'scale_map', 'partials')):
    check(kernels.cross_entropy_of_tiles, {**block, **dict.fromkeys(absent)})
check(kernels.cross_entropy_of_tiles, {'BLOCK_Y': 1, 'BLOCK_X': 1, 'BLOCK_C': 1}, number=1)
chunk = {'CHUNK': 1024, 'BLOCK_P': 8, 'BLOCK_K': 16, 'BLOCK_C': 32}
for kernel in (kernels.gradient_from_corners, kernels.table_gradient_of_chunks, kernels.table_gradient_from_chunks):
    for number in (None, 1):
        check(kernel, {name: chunk[name] for name in chunk if name in kernel.arg_names}, number)
"""


@pytest.mark.slow
def test_kernels_compile_for_a_gpu(tmp_path):
    """Guards what the interpreter lets pass but the compiler does not, sizes of 1 (constants to it), and atomics."""
    triton = pytest.importorskip('triton')
    if tuple(map(int, triton.__version__.split('.')[:2])) < (3, 3) or sys.platform != 'linux':
        pytest.skip('needs the compiler interface of Triton 3.3')
    environment = {**os.environ, 'TRITON_INTERPRET': '0', 'TRITON_CACHE_DIR': str(tmp_path)}
    # From a file, as Triton reads the source of what it compiles.
    script = tmp_path / 'compile_kernels.py'
    script.write_text(COMPILE)
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
