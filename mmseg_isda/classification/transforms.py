"""Training transforms of the paper's CIFAR experiments that MMPretrain lacks, or does otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmpretrain.registry import TRANSFORMS
from PIL import Image
from torchvision import transforms as tv

from ..core.checks import check_choice

# Sub-policy 17 as the ISDA authors trained it; AutoAugment's own has 0.6 in the place of 0.8.
_SUB_POLICY_17 = (('Equalize', 0.2, None), ('Equalize', 0.8, None))


@TRANSFORMS.register_module()
class ReflectCrop(BaseTransform):
    """Crop of a fixed size at a random place of the image, whose borders are first extended by their reflection.

    The border pixel itself is not repeated. MMPretrain's `RandomCrop` ignores `padding_mode` when `padding` is set.

    Modified keys: `img` (H, W) or (H, W, 3), `img_shape`.

    Args:
        crop_size: height and width of the crop, or one number for both.
        padding: pixels by which each side is extended.

    Raises:
        ValueError: if an option is out of range, the image is no larger than `padding`, or smaller than the crop
            even so.
    """

    def __init__(self, crop_size: int | Sequence[int], *, padding: int = 4) -> None:
        size = (crop_size, crop_size) if isinstance(crop_size, int) else tuple(crop_size)
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f'crop_size must be one or two positive integers, got {crop_size!r}')
        if padding < 0:
            raise ValueError(f'padding must be 0 or more, got {padding}')
        self.crop_size, self.padding = size, padding

    def transform(self, results: dict) -> dict:
        image = results['img']
        if min(image.shape[:2]) <= self.padding:
            raise ValueError(
                f'padding by reflection must be less than the image: got padding={self.padding} for an image of '
                f'{image.shape[0]}x{image.shape[1]}'
            )
        padded = mmcv.impad(image, padding=self.padding, padding_mode='reflect')
        height, width = self.crop_size
        if padded.shape[0] < height or padded.shape[1] < width:
            raise ValueError(f'crop_size={self.crop_size} is larger than the padded image of {padded.shape[:2]}')
        top, left = np.random.randint(padded.shape[0] - height + 1), np.random.randint(padded.shape[1] - width + 1)
        crop = padded[top : top + height, left : left + width]
        results['img'], results['img_shape'] = np.ascontiguousarray(crop), crop.shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(crop_size={self.crop_size}, padding={self.padding})'


@TRANSFORMS.register_module()
class ClippedCutout(BaseTransform):
    """Paint a square at a random place, of which the part beyond the border is lost (arXiv:1708.04552).

    The centre is uniform over the pixels, so that squares at the border are smaller; MMPretrain's `Cutout` keeps their
    full size at the top and at the left.

    Modified key: `img` (H, W) or (H, W, C).

    Args:
        length: side of the square in pixels; it reaches `length // 2` to the top and left of the centre.
        fill: value of its pixels, before normalisation.

    Raises:
        ValueError: if `length` is below 1.
    """

    def __init__(self, length: int = 16, *, fill: float = 0) -> None:
        if length < 1:
            raise ValueError(f'length must be at least 1, got {length}')
        self.length, self.fill = length, fill

    def transform(self, results: dict) -> dict:
        image = results['img'].copy()
        top, left = (np.random.randint(size) - self.length // 2 for size in image.shape[:2])
        image[max(top, 0) : max(top + self.length, 0), max(left, 0) : max(left + self.length, 0)] = self.fill
        results['img'] = image
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(length={self.length}, fill={self.fill})'


class PillowPolicy(BaseTransform):
    """Base of the policies that torchvision has in Pillow's arithmetic, in which they were published.

    The operations of MMPretrain's own policies expect blue first, and so turn CIFAR's colours to other greys.

    Modified key: `img` (H, W, 3), 8 bit.
    """

    def __init__(self, policy: tv.AutoAugment | tv.RandAugment, channel_order: str) -> None:
        check_choice('channel_order', channel_order, ('rgb', 'bgr'))
        self.policy, self.channel_order = policy, channel_order

    def transform(self, results: dict) -> dict:
        image = results['img']
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise TypeError(
                f'{type(self).__name__} needs an image (H, W, 3) of 8 bits, got {image.shape} of {image.dtype}: put it '
                f'before normalisation, and leave it out for grey images'
            )
        flip = self.channel_order == 'bgr'
        pillow = Image.fromarray(np.ascontiguousarray(image[..., ::-1]) if flip else image)
        changed = np.array(self.policy(pillow))
        results['img'] = np.ascontiguousarray(changed[..., ::-1]) if flip else changed
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.policy}, channel_order={self.channel_order!r})'


@TRANSFORMS.register_module()
class CIFARAutoAugment(PillowPolicy):
    """The policy that AutoAugment found on CIFAR-10 (arXiv:1805.09501, Table 7): 25 pairs of operations.

    torchvision's table and operations, but for the second probability of the 17th pair. Cutout is to follow.

    Args:
        fill: red, green and blue of the pixels that come from beyond the border.
        channel_order: `'rgb'`, as the CIFAR data sets yield, or `'bgr'`, as `LoadImageFromFile` does.

    Raises:
        ValueError: if `channel_order` is neither.
        TypeError: if the image is not of 8 bits and three channels.
    """

    def __init__(self, *, fill: Sequence[float] = (128, 128, 128), channel_order: str = 'rgb') -> None:
        policy = tv.AutoAugment(tv.AutoAugmentPolicy.CIFAR10, fill=list(fill))
        policy.policies[16] = _SUB_POLICY_17
        super().__init__(policy, channel_order)


@TRANSFORMS.register_module()
class PillowRandAugment(PillowPolicy):
    """RandAugment (arXiv:1909.13719): N of its 14 operations, drawn with replacement, all at magnitude M of 0 to 30.

    Args:
        num_ops: N.
        magnitude: M.
        fill: as in :class:`CIFARAutoAugment`.
        channel_order: `'rgb'` or `'bgr'`.

    Raises:
        ValueError: if an option is out of range.
        TypeError: if the image is not of 8 bits and three channels.
    """

    def __init__(
        self, *, num_ops: int, magnitude: int, fill: Sequence[float] = (128, 128, 128), channel_order: str = 'rgb'
    ) -> None:
        if num_ops < 1:
            raise ValueError(f'num_ops must be at least 1, got {num_ops}')
        if not 0 <= magnitude <= 30:
            raise ValueError(f'magnitude must be 0 to 30, got {magnitude}')
        super().__init__(tv.RandAugment(num_ops, magnitude, num_magnitude_bins=31, fill=list(fill)), channel_order)
