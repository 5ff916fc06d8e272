"""Transforms against slow loops in NumPy and against Pillow: borders, squares, the 25 sub-policies, RandAugment."""

import math

import numpy as np
import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.registry import init_default_scope
from mmpretrain.registry import TRANSFORMS
from PIL import Image, ImageEnhance, ImageOps
from torchvision.transforms import autoaugment

from mmseg_isda.classification.transforms import CIFARAutoAugment, ClippedCutout, PillowRandAugment, ReflectCrop

# AutoAugment's policy for CIFAR-10, in the order of its Table 7: name, probability, magnitude of 0 to 9, or a dash for
# operations that have no strength. The 17th is the ISDA authors': 0.8, not 0.6.
POLICY = """
Invert .1 - Contrast .2 6 | Rotate .7 2 TranslateX .3 9 | Sharpness .8 1 Sharpness .9 3
ShearY .5 8 TranslateY .7 9 | AutoContrast .5 - Equalize .9 - | ShearY .2 7 Posterize .3 7
Color .4 3 Brightness .6 7 | Sharpness .3 9 Brightness .7 9 | Equalize .6 - Equalize .5 -
Contrast .6 7 Sharpness .6 5 | Color .7 7 TranslateX .5 8 | Equalize .3 - AutoContrast .4 -
TranslateY .4 3 Sharpness .2 6 | Brightness .9 6 Color .2 8 | Solarize .5 2 Invert 0 -
Equalize .2 - AutoContrast .6 - | Equalize .2 - Equalize .8 - | Color .9 9 Equalize .6 -
AutoContrast .8 - Solarize .2 8 | Brightness .1 3 Color .7 0 | Solarize .4 5 AutoContrast .9 -
TranslateY .9 9 TranslateY .7 9 | AutoContrast .9 - Solarize .8 3 | Equalize .8 - Invert .1 -
TranslateY .7 9 AutoContrast .9 -
"""
GREY = (128, 128, 128)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def _policy():
    rows = []
    for part in POLICY.replace('\n', '|').split('|'):
        words = part.split()
        if words:
            rows.append([(n, float(p), None if m == '-' else int(m)) for n, p, m in (words[:3], words[3:])])
    return rows


# --- crop ------------------------------------------------------------------------------------------------------------


def _reflected(position, size):
    """Where a position beyond the border is mirrored to; the border itself is not repeated."""
    position = abs(position)
    return 2 * (size - 1) - position if position >= size else position


@pytest.mark.parametrize('shape', [(6, 5, 3), (6, 5)])
def test_reflect_crop_equals_a_loop_over_pixels(shape):
    """Guards constant or symmetric borders, and swapped axes, for every crop that there is."""
    image = np.arange(math.prod(shape), dtype=np.uint8).reshape(shape)
    transform = ReflectCrop((4, 3), padding=2)
    expected = set()
    for top in range(-2, 6 + 2 - 4 + 1):
        for left in range(-2, 5 + 2 - 3 + 1):
            crop = np.zeros((4, 3, *shape[2:]), np.uint8)
            for row in range(4):
                for column in range(3):
                    crop[row, column] = image[_reflected(top + row, 6), _reflected(left + column, 5)]
            expected.add(crop.tobytes())
    np.random.seed(0)
    found = [transform(dict(img=image)) for _ in range(2000)]
    assert {result['img'].tobytes() for result in found} == expected
    assert all(result['img_shape'] == (4, 3) and result['img'].flags.c_contiguous for result in found)


def test_reflect_crop_of_the_paper_is_uniform():
    """Guards an offset that is never drawn: 9 x 9 places for 32 pixels and a border of 4."""
    image = np.arange(32 * 32, dtype=np.int32).reshape(32, 32)
    np.random.seed(0)
    draws = 8100
    middles = [int(ReflectCrop(32, padding=4)(dict(img=image))['img'][16, 16]) for _ in range(draws)]
    counts = np.unique(middles, return_counts=True)[1]
    assert len(counts) == 81
    assert np.sum((counts - draws / 81) ** 2 / (draws / 81)) < 80 + 5 * math.sqrt(160)  # chi squared


def test_reflect_crop_leaves_the_image_alone(image):
    """Guards images in memory, which are used again in the next epoch."""
    before = image.copy()
    ReflectCrop(32)(dict(img=image))['img'][:] = 0
    assert np.array_equal(image, before)


# --- cutout ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('length', 'shape'), [(4, (7, 6, 3)), (5, (7, 6)), (1, (3, 3)), (40, (8, 8))])
def test_cutout_equals_a_loop_over_pixels(length, shape):
    """Guards a full-size square at the top and at the left, as the host's has, for every centre that there is."""
    image = np.random.default_rng(0).integers(1, 256, shape, dtype=np.uint8)
    expected = set()
    for row in range(shape[0]):
        for column in range(shape[1]):
            out = image.copy()
            for r in range(row - length // 2, row - length // 2 + length):
                for c in range(column - length // 2, column - length // 2 + length):
                    if 0 <= r < shape[0] and 0 <= c < shape[1]:
                        out[r, c] = 0
            expected.add(out.tobytes())
    np.random.seed(0)
    before = image.copy()
    found = {ClippedCutout(length)(dict(img=image))['img'].tobytes() for _ in range(1500)}
    assert found == expected
    assert np.array_equal(image, before)


def test_cutout_of_the_paper_removes_what_its_geometry_says():
    """Guards length and centres: along one side, 16 of 32 pixels for 17 of the centres, less near the border."""
    np.random.seed(0)
    side = np.mean([min(c + 8, 32) - max(c - 8, 0) for c in range(32)])
    white = np.full((32, 32), 255, np.uint8)
    areas = np.array([np.sum(ClippedCutout(16)(dict(img=white))['img'] == 0) for _ in range(4000)])
    assert areas.max() == 256 and areas.min() == 8 * 8
    assert abs(areas.mean() - side**2) < 6 * areas.std() / math.sqrt(len(areas))


# --- AutoAugment and RandAugment -------------------------------------------------------------------------------------


def test_the_policy_is_the_published_one():
    """Guards each of the 25 sub-policies, with its 50 probabilities and magnitudes, against the table above."""
    policies = [[tuple(step) for step in sub] for sub in CIFARAutoAugment().policy.policies]
    assert len(policies) == 25
    assert policies == _policy()
    assert autoaugment.AutoAugment(autoaugment.AutoAugmentPolicy.CIFAR10).policies[16][1] == ('Equalize', 0.6, None)


def _affine(image, matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=GREY)


def _operate(image, name, strength):
    """The operations in Pillow itself; `strength` is 0 to 1 of the published ranges, with a sign."""
    shift = int(strength * 150 / 331 * 32)
    enhancers = dict(
        Brightness=ImageEnhance.Brightness,
        Color=ImageEnhance.Color,
        Contrast=ImageEnhance.Contrast,
        Sharpness=ImageEnhance.Sharpness,
    )
    if name in enhancers:
        return enhancers[name](image).enhance(1 + 0.9 * strength)
    return dict(
        Identity=lambda: image,
        ShearX=lambda: _affine(image, (1, 0.3 * strength, 0, 0, 1, 0)),
        ShearY=lambda: _affine(image, (1, 0, 0, 0.3 * strength, 1, 0)),
        TranslateX=lambda: _affine(image, (1, 0, -shift, 0, 1, 0)),
        TranslateY=lambda: _affine(image, (1, 0, 0, 0, 1, -shift)),
        Rotate=lambda: image.rotate(30 * strength, Image.Resampling.NEAREST, fillcolor=GREY),
        Posterize=lambda: ImageOps.posterize(image, round(8 - 4 * strength)),
        Solarize=lambda: ImageOps.solarize(image, 255 - 255 * strength),
        AutoContrast=lambda: ImageOps.autocontrast(image),
        Equalize=lambda: ImageOps.equalize(image),
        Invert=lambda: ImageOps.invert(image),
    )[name]()


def _same(a, b):
    """Whether images agree to two levels of 256: torchvision rounds the strengths to float32."""
    return np.abs(np.asarray(a, int) - np.asarray(b, int)).max() <= 2


@pytest.mark.parametrize('sub', range(25))
def test_sub_policies_equal_pillow(sub, image, monkeypatch):
    """Guards the ten magnitudes of each operation, the signs, the order of the two, and the grey beyond the border."""
    transform = CIFARAutoAugment()
    for signs in ((0, 0), (1, 1), (0, 1)):
        draw = (sub, torch.zeros(2), torch.tensor(signs))  # probabilities of 0: both operations are done
        monkeypatch.setattr(transform.policy, 'get_params', lambda count, draw=draw: draw)
        expected = Image.fromarray(image)
        for (name, _, magnitude), sign in zip(_policy()[sub], signs, strict=True):
            signed = name not in ('Posterize', 'Solarize')
            expected = _operate(expected, name, (magnitude or 0) / 9 * (-1 if signed and not sign else 1))
        assert _same(transform(dict(img=image))['img'], expected)


def test_sub_policies_and_operations_are_drawn_with_their_probabilities(image, monkeypatch):
    """Guards the 1 in 25 of each sub-policy and the chance of its operations, at six standard errors."""
    done, chosen = [], []
    transform = CIFARAutoAugment()
    draw = transform.policy.get_params
    monkeypatch.setattr(autoaugment, '_apply_op', lambda img, name, *args, **options: done[-1].append(name) or img)

    def record(count):
        chosen.append(draw(count))
        return chosen[-1]

    monkeypatch.setattr(transform.policy, 'get_params', record)
    draws = 5000
    for _ in range(draws):
        done.append([])
        transform(dict(img=image))
    subs = np.array([sub for sub, _, _ in chosen])
    assert np.abs(np.bincount(subs, minlength=25) / draws - 1 / 25).max() < 6 * math.sqrt(0.04 * 0.96 / draws)
    expected = np.array([sum(p for _, p, _ in sub) for sub in _policy()])
    mean = expected.mean()
    assert abs(np.mean([len(names) for names in done]) - mean) < 6 / math.sqrt(draws)
    invert = np.mean([names[:1] == ['Equalize'] for names, sub in zip(done, subs, strict=True) if sub == 8])
    assert abs(invert - (0.6 + 0.4 * 0.5)) < 6 * math.sqrt(0.16 / np.sum(subs == 8))


@pytest.mark.parametrize('magnitude', [0, 5, 9, 14, 30])
def test_randaugment_operations_equal_pillow(magnitude, image, monkeypatch):
    """Guards the scale of 0 to 30, the 14 operations of the paper, and both signs."""
    transform = PillowRandAugment(num_ops=1, magnitude=magnitude)
    names = list(transform.policy._augmentation_space(31, (32, 32)))
    assert sorted(names) == sorted(
        ['Identity', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY', 'Rotate', 'Brightness', 'Color', 'Contrast',
         'Sharpness', 'Posterize', 'Solarize', 'AutoContrast', 'Equalize']
    )  # fmt: skip
    for index, name in enumerate(names):
        for sign in (0, 1):
            draws = iter([index, sign])
            monkeypatch.setattr(torch, 'randint', lambda *args, draws=draws: torch.tensor([next(draws)]))
            signed = name not in ('Posterize', 'Solarize')
            strength = magnitude / 30 * (-1 if signed and sign else 1)
            expected = _operate(Image.fromarray(image), name, strength)
            assert _same(transform(dict(img=image))['img'], expected), (name, sign)


def test_randaugment_does_n_operations(image, monkeypatch):
    """Guards N, and that operations are drawn anew for each image."""
    done = []
    monkeypatch.setattr(autoaugment, '_apply_op', lambda img, name, *args, **options: done.append(name) or img)
    for _ in range(200):
        PillowRandAugment(num_ops=3, magnitude=5)(dict(img=image))
    assert len(done) == 600 and len(set(done)) == 14


@pytest.mark.parametrize('kind', [CIFARAutoAugment, lambda **o: PillowRandAugment(num_ops=2, magnitude=9, **o)])
def test_channel_order(kind, image):
    """Guards colours that are turned to grey with the weights of red and blue exchanged."""
    for seed in range(60):
        torch.manual_seed(seed)
        rgb = kind()(dict(img=image))['img']
        torch.manual_seed(seed)
        bgr = kind(channel_order='bgr')(dict(img=np.ascontiguousarray(image[..., ::-1])))['img']
        assert np.array_equal(rgb, bgr[..., ::-1]) and bgr.flags.c_contiguous
        assert rgb.dtype == np.uint8 and rgb.shape == image.shape


# --- the host --------------------------------------------------------------------------------------------------------


def test_registered_and_described():
    """Guards the names that configs use, and the description of a data set in the log."""
    init_default_scope('mmpretrain')
    for settings in (
        dict(type='ReflectCrop', crop_size=32),
        dict(type='ClippedCutout'),
        dict(type='CIFARAutoAugment'),
        dict(type='PillowRandAugment', num_ops=3, magnitude=5),
    ):
        assert repr(TRANSFORMS.build(settings)).startswith(settings['type'])


@pytest.mark.parametrize(
    ('make', 'error', 'message'),
    [
        (lambda i: ReflectCrop(0), ValueError, 'crop_size must be .* got 0'),
        (lambda i: ReflectCrop((4, 4, 4)), ValueError, r'crop_size must be .* got \(4, 4, 4\)'),
        (lambda i: ReflectCrop(4, padding=-1), ValueError, 'padding must be 0 or more, got -1'),
        (lambda i: ReflectCrop(4, padding=32)(dict(img=i)), ValueError, 'padding=32 for an image of 32x32'),
        (lambda i: ReflectCrop(41, padding=4)(dict(img=i)), ValueError, r'\(41, 41\) .* larger .* \(40, 40\)'),
        (lambda i: ClippedCutout(0), ValueError, 'length must be at least 1, got 0'),
        (lambda i: PillowRandAugment(num_ops=0, magnitude=1), ValueError, 'num_ops must be at least 1, got 0'),
        (lambda i: PillowRandAugment(num_ops=1, magnitude=31), ValueError, 'magnitude must be 0 to 30, got 31'),
        (lambda i: CIFARAutoAugment(channel_order='gbr'), ValueError, "channel_order must be .* got 'gbr'"),
        (lambda i: CIFARAutoAugment()(dict(img=i / 255)), TypeError, r'8 bits, got \(32, 32, 3\) of float64'),
        (lambda i: CIFARAutoAugment()(dict(img=i[..., 0])), TypeError, r'8 bits, got \(32, 32\) of uint8'),
    ],
)  # fmt: skip
def test_mistakes_are_named(make, error, message, image):
    """Guards against wrong pictures in silence."""
    with pytest.raises(error, match=message):
        make(image)
