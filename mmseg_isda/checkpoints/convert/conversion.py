"""Weights renamed for a toolkit, with every name accounted for, and the file that holds them."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import CheckpointError, OptionError
from ...files import move_into_place, refuse_replacing, save_tensors, sha256_of, temporary_beside
from ...version import __version__
from ..publishing import plain_data
from ..reading import read_checkpoint, state_dict_of
from ..statistics import find_statistics
from .architectures import COUNTER, Architecture, Shape, detect_architecture
from .lite import detect_lite
from .names import SOURCES, detect_source, shared_name, strip_wrappers

TARGETS = ('mmdet', 'mmpretrain', 'mmseg')
LISTED = 10  # names in an error


@dataclass(frozen=True)
class Conversion:
    """Converted weights, and what became of each name of the source.

    Attributes:
        architecture: the network that was found.
        target: one of ``TARGETS``.
        source_kind: in words.
        state_dict: the weights, float32, by the target's names.
        mapped: {name in the source: name in ``state_dict``}.
        dropped: {name in the source: why it was left out}.
        added: names in ``state_dict`` that the source lacks: batch counters, which old files do not have.
        notes: what else a user should know.
    """

    architecture: Architecture
    target: str
    source_kind: str
    state_dict: OrderedDict[str, Tensor] = field(repr=False)
    mapped: dict[str, str] = field(repr=False)
    dropped: dict[str, str] = field(repr=False, default_factory=dict)
    added: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def backbone(self) -> dict[str, Any]:
        """Return the settings of ``model.backbone`` in a config of the target."""
        settings = dict(self.architecture.settings)
        if settings['type'] == 'DenseNet' and self.target != 'mmpretrain':
            settings['type'] = 'mmpretrain.DenseNet'
        if 'base_width' in settings and self.target == 'mmpretrain':
            settings['width_per_group'] = settings.pop('base_width')  # MMPretrain's name for it
        if 'features_only' in settings and self.target == 'mmpretrain':
            settings['features_only'] = False
        return settings

    def report(self, *, every_name: bool = False) -> Iterator[str]:
        """Yield lines that say what was done; with ``every_name`` also each mapped one."""
        yield f'{self.architecture.name}, from {self.source_kind}, for {self.target}'
        yield f'mapped: {len(self.mapped)}'
        if every_name:
            yield from (f'  {old} -> {new}' for old, new in self.mapped.items())
        yield f'dropped: {len(self.dropped)}'
        yield from (f'  {name}: {reason}' for name, reason in self.dropped.items())
        yield 'missing: 0' + (f' ({len(self.added)} batch counters were set to 0)' if self.added else '')
        yield from (f'note: {note}' for note in self.notes)


def convert_weights(state: Mapping[str, Tensor], target: str, *, arch: str | None = None) -> Conversion:
    """Rename the weights of a network for a toolkit; which network they are of, and of which source, is found out.

    Args:
        state: weights, named as one of ``SOURCES`` names them.
        target: ``'mmdet'`` or ``'mmseg'`` for a backbone, ``'mmpretrain'`` for a classifier.
        arch: the network that it must be, such as ``'resnet50'``; None takes whichever it is.

    Raises:
        OptionError: if ``target`` is unknown, or does not have the network.
        CheckpointError: if the network is another one than ``arch`` or none of those that can be converted; if a name
            is missing, has another shape, or is unknown within the network; if a weight is no finite number.
    """
    if target not in TARGETS:
        raise OptionError(f'target must be one of {", ".join(TARGETS)}, got {target!r}')
    kind, architecture, names = _recognize(state)
    if arch is not None and arch != architecture.name:
        raise CheckpointError(f'the weights are of {architecture.name}, not of {arch}')
    if kind == 'csail' and target != 'mmseg':
        raise OptionError(f"MIT CSAIL's weights fit MMSegmentation's ResNetV1c: give --target mmseg, got {target}")
    dropped = _reasons(names, target, architecture)
    mapped = {key: name for key, name in names.items() if key not in dropped}
    wanted = dict(architecture.shapes)
    if target == 'mmpretrain':
        classes = next((state[key].shape[:1] for key, name in names.items() if name == 'fc.weight'), (0,))
        wanted |= architecture.tail | {'fc.weight': (*classes, architecture.num_features), 'fc.bias': tuple(classes)}
    _check(state, mapped, wanted, architecture)
    weights, notes = _as_float32(OrderedDict((name, state[key]) for key, name in mapped.items()))
    added = tuple(name for name in wanted if name not in weights)
    weights |= {name: torch.zeros((), dtype=torch.int64) for name in added}
    target_name = partial(_target_name, target=target, prefix=architecture.prefix)
    return Conversion(
        architecture,
        target,
        SOURCES[kind],
        state_dict=OrderedDict((target_name(name), weights[name]) for name in wanted),
        mapped={key: target_name(name) for key, name in mapped.items()},
        dropped=dropped,
        added=tuple(map(target_name, added)),
        notes=(*notes, *_advice(architecture, target)),
    )


def _recognize(state: Mapping[str, Tensor]) -> tuple[str, Architecture, dict[str, str | None]]:
    """Return the kind of source, the network, and the name of each weight that the toolkits share."""
    short = strip_wrappers(state)
    kind = detect_source(short.values())
    if kind == 'efficientnet':
        architecture, known = detect_lite({short[key]: value for key, value in state.items()})
        return kind, architecture, {key: known[short[key]] for key in state}
    names = {key: shared_name(short[key], kind) for key in state}
    network = {name: state[key] for key, name in names.items() if name is not None}
    return kind, detect_architecture(network, stem_of_three=kind == 'csail'), names


def convert_checkpoint(
    source: str | os.PathLike,
    target_file: str | os.PathLike,
    *,
    target: str = 'mmdet',
    arch: str | None = None,
    force: bool = False,
) -> Conversion:
    """Read a checkpoint, rename its weights and write a file for ``init_cfg=dict(type='Pretrained', ...)``.

    The file holds CPU tensors and plain data alone; its ``meta`` names the source, its SHA-256 and the network.

    Args:
        source: checkpoint of MMPretrain, bare state dict, or training checkpoint with an entry ``state_dict``.
        target_file: the file to write; its folder is made.
        target: see :func:`convert_weights`.
        arch: see :func:`convert_weights`.
        force: replace ``target_file`` where it exists.

    Raises:
        MissingPathError: if there is no ``source``.
        CheckpointError: if it is damaged, holds code, or :func:`convert_weights` refuses it.
        ExistingPathError: if ``target_file`` exists and ``force`` is not given.
        OptionError: if ``target_file`` is a folder or ``source`` itself, or cannot be written, or ``target`` is wrong.
    """
    source, path = Path(source), Path(target_file)
    if path.is_dir():
        raise OptionError(f'target file {path} is a folder; name a file in it, e.g. {path / source.name}')
    if path.exists() and source.exists() and path.samefile(source):
        raise OptionError(f'target file {path} is the source itself; name another file')
    refuse_replacing(path, force)
    checkpoint = read_checkpoint(source)
    state = state_dict_of(checkpoint, source)
    try:
        done = convert_weights(state, target, arch=arch)
    except CheckpointError as error:
        raise CheckpointError(f'{source}: {error}') from error
    done = replace(done, dropped=done.dropped | _other_entries(checkpoint))
    meta = _meta(done, source, checkpoint)
    with temporary_beside(path) as temporary:
        save_tensors(dict(meta=meta, state_dict=done.state_dict), temporary)
        move_into_place(temporary, path, force)
    return done


def _other_entries(checkpoint: Mapping[str, Any]) -> dict[str, str]:
    """Return why the entries beside ``state_dict`` are left out."""
    if 'state_dict' not in checkpoint:
        return {}
    reasons = {str(key): 'no part of the weights' for key in checkpoint if key != 'state_dict'}
    if 'ema_state_dict' in reasons:
        reasons['ema_state_dict'] = 'the weights before averaging: EMAHook keeps the averaged ones in state_dict'
    return reasons


def _meta(done: Conversion, source: Path, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    meta = dict(
        source=source.name,
        source_sha256=sha256_of(source),
        source_kind=done.source_kind,
        arch=done.architecture.name,
        target=done.target,
        backbone=done.backbone,
        mmseg_isda_version=__version__,
    )
    described = checkpoint.get('meta')
    if done.target == 'mmpretrain' and isinstance(described, Mapping) and 'dataset_meta' in described:
        meta['dataset_meta'] = plain_data(described['dataset_meta'])  # the names of the classes
    return meta


def _reasons(names: Mapping[str, str | None], target: str, architecture: Architecture) -> dict[str, str]:
    """Return why each name that is left out is left out."""
    statistics = set(find_statistics(names))
    reasons = {}
    for key, name in names.items():
        if key in statistics:
            reasons[key] = 'statistics of ISDA, which serve training alone'
        elif name is None:
            reasons[key] = 'no part of the network'
        elif (name.startswith('fc.') or name in architecture.tail) and target != 'mmpretrain':
            reasons[key] = 'the classifier, which a backbone does not have'
    return reasons


def _check(
    state: Mapping[str, Tensor], mapped: Mapping[str, str], wanted: Mapping[str, Shape], architecture: Architecture
) -> None:
    found: dict[str, str] = {}
    twice = [key for key, name in mapped.items() if found.setdefault(name, key) != key]
    missing = [name for name in wanted if name not in found and not name.endswith(COUNTER)]
    unknown = [key for key, name in mapped.items() if name not in wanted]
    wrong = [
        f'{key} {tuple(state[key].shape)} instead of {wanted[name]}'
        for key, name in mapped.items()
        if name in wanted and tuple(state[key].shape) != wanted[name]
    ]
    broken = [
        key
        for key, name in mapped.items()
        if not name.endswith(COUNTER) and not (state[key].is_floating_point() and bool(state[key].isfinite().all()))
    ]
    kinds = {
        'missing': missing,
        'of another shape': wrong,
        'unknown': unknown,
        'twice': twice,
        'not of finite numbers': broken,
    }
    problems = [
        f'{len(names)} {kind}: {", ".join(names[:LISTED])}{", ..." if len(names) > LISTED else ""}'
        for kind, names in kinds.items()
        if names
    ]
    if problems:
        raise CheckpointError(f'the weights do not fit {architecture.name}: {"; ".join(problems)}')


def _as_float32(weights: OrderedDict[str, Tensor]) -> tuple[OrderedDict[str, Tensor], list[str]]:
    kinds = {value.dtype for value in weights.values() if value.is_floating_point()} - {torch.float32}
    notes = [f'weights of {str(kind).removeprefix("torch.")} were made float32' for kind in sorted(kinds, key=str)]
    # clone(): a view would take the whole of its storage along.
    converted = OrderedDict(
        (name, value.detach().to('cpu', torch.int64 if name.endswith(COUNTER) else torch.float32).clone())
        for name, value in weights.items()
    )
    return converted, notes


def _target_name(name: str, target: str, prefix: str) -> str:
    if target != 'mmpretrain':
        return f'{prefix}{name}'
    return f'head.{name}' if name.startswith('fc.') else f'backbone.{prefix}{name}'


def _advice(architecture: Architecture, target: str) -> list[str]:
    """Return what to mind about the target's backbone."""
    kind = architecture.settings['type']
    if kind == 'TIMMBackbone':
        return ['its input is RGB, (x - 127) / 128: mean=[127] * 3, std=[128] * 3']
    if kind == 'DenseNet' and target != 'mmpretrain':
        return [
            "the backbone is MMPretrain's: type='mmpretrain.DenseNet', with "
            "custom_imports=dict(imports=['mmpretrain.models'])"
        ]
    if kind != 'ResNetV1c' and target == 'mmseg':
        return [
            f"the backbone is type='{kind}', with one convolution of 7x7 as stem; MMSegmentation's usual ResNetV1c has "
            f'another stem, which these weights do not fit'
        ]
    return []
