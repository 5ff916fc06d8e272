"""ImageNet weights of MIT CSAIL, which the paper starts from, for MMSegmentation's ResNetV1c."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmseg.models.backbones import ResNetV1c
from torch import Tensor

_STEM = {'conv1': 'stem.0', 'bn1': 'stem.1', 'conv2': 'stem.3', 'bn2': 'stem.4', 'conv3': 'stem.6', 'bn3': 'stem.7'}
_LAYER3_BLOCKS = {6: 50, 23: 101}
_OPTIONAL = 'num_batches_tracked'  # files of old PyTorch versions have none
STEM_CHANNELS = 128


@dataclass(frozen=True)
class Conversion:
    """A converted backbone: its depth, its weights, {old name: new name}, and the names left out."""

    depth: int
    state_dict: dict[str, Tensor]
    mapped: dict[str, str] = field(repr=False)
    dropped: tuple[str, ...] = ()


def convert_csail_resnet(source: Mapping[str, Tensor]) -> Conversion:
    """Rename the weights of CSAIL's ResNet-50 or ResNet-101 for `ResNetV1c(stem_channels=128)`.

    `conv1`, `bn1`, ... `bn3` become `stem.0`, `.1`, `.3`, `.4`, `.6`, `.7`; `layer1` to `layer4` keep their names; the
    classifier `fc` is dropped.

    Args:
        source: the state dict, with or without a `module.` prefix.

    Returns:
        The converted weights and what became of each name.

    Raises:
        ValueError: a key is unknown or missing, or a tensor has another shape than the backbone's.
    """
    source = {name.removeprefix('module.'): value for name, value in source.items()}
    depth = _depth_of(source)
    mapped = {name: new for name in source if (new := _new_name(name)) is not None}
    dropped = tuple(name for name in source if name not in mapped)
    state_dict = {new: source[name] for name, new in mapped.items()}
    _check(state_dict, depth)
    return Conversion(depth=depth, state_dict=state_dict, mapped=mapped, dropped=dropped)


def convert_csail_file(source: str | Path, target: str | Path, *, force: bool = False) -> Conversion:
    """Read CSAIL's file, convert it and write a checkpoint for `init_cfg=dict(type='Pretrained', ...)`.

    Args:
        source: `resnet50-imagenet.pth` or `resnet101-imagenet.pth`; read with `weights_only=True`.
        target: the file to write; its folder is made.
        force: replace `target` where it exists.

    Raises:
        FileNotFoundError: `source` does not exist.
        FileExistsError: `target` exists and `force` is not set.
        ValueError: `source` is not such a file.
    """
    source, target = Path(source), Path(target)
    if not source.is_file():
        raise FileNotFoundError(f'{source} does not exist: give the path of resnet101-imagenet.pth')
    if target.exists() and not force:
        raise FileExistsError(f'{target} exists already: use --force (force=True) to replace it')
    conversion = convert_csail_resnet(_read(source))
    meta = dict(source=source.name, arch=f'ResNetV1c-{conversion.depth}', stem_channels=STEM_CHANNELS)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f'{target.name}.{os.getpid()}.part')
    try:
        torch.save(dict(meta=meta, state_dict=conversion.state_dict), part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return conversion


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError(
            f'{path} is not a readable file of plain weights (truncated, an error page, or more than tensors): '
            f'download it again. PyTorch says: {str(error).splitlines()[0]}'
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get('state_dict'), Mapping):
        content = content['state_dict']
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f'{path} must hold a state dict (names and tensors), got {type(content).__name__}')
    return content


def _depth_of(source: Mapping[str, Tensor]) -> int:
    blocks = {name.split('.')[1] for name in source if name.startswith('layer3.')}
    if len(blocks) not in _LAYER3_BLOCKS or 'conv3.weight' not in source:
        raise ValueError(
            "expected CSAIL's resnet50-imagenet.pth or resnet101-imagenet.pth (a stem of conv1, conv2, conv3; 6 or "
            f'23 blocks in layer3), got {len(blocks)} blocks in layer3 and '
            f'{"a" if "conv3.weight" in source else "no"} conv3'
        )
    return _LAYER3_BLOCKS[len(blocks)]


def _new_name(name: str) -> str | None:
    module, _, rest = name.partition('.')
    if module == 'fc':
        return None
    return f'{_STEM[module]}.{rest}' if module in _STEM else name


def _check(state_dict: Mapping[str, Tensor], depth: int) -> None:
    with torch.device('meta'):
        expected = ResNetV1c(depth=depth, stem_channels=STEM_CHANNELS).state_dict()
    missing = [name for name in expected if name not in state_dict and not name.endswith(_OPTIONAL)]
    unknown = [name for name in state_dict if name not in expected]
    wrong = [
        f'{name} {tuple(value.shape)} instead of {tuple(expected[name].shape)}'
        for name, value in state_dict.items()
        if name in expected and value.shape != expected[name].shape
    ]
    problems = [
        f'{len(names)} {kind}: {", ".join(names[:5])}{", ..." if len(names) > 5 else ""}'
        for kind, names in (('missing', missing), ('unknown', unknown), ('of another shape', wrong))
        if names
    ]
    if problems:
        raise ValueError(f"the weights do not fit CSAIL's ResNet-{depth}: {'; '.join(problems)}")
