"""Views of one sample that take different ways through the data pipeline and the model."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from mmengine.dataset import Compose
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import MODELS, TRANSFORMS, Registry
from torch import nn

SUP, TEACHER, STUDENT = 'sup', 'unsup_teacher', 'unsup_student'


@TRANSFORMS.register_module()
class MultiBranch:
    """Transform that sends copies of a sample through one pipeline for each branch.

    As MMDetection's: a sample lists all branches, those that its pipeline does not make hold None, so that labeled
    and unlabeled samples collate. Random transforms before it are shared by the branches.

    Args:
        branch_field: names of all branches, e.g. ``['sup', 'unsup_teacher', 'unsup_student']``.
        **branch_pipelines: a pipeline for each branch of this sample; it must end by packing.

    Raises:
        ValueError: if a pipeline has a name that is not in ``branch_field``.
    """

    def __init__(self, branch_field: Sequence[str], **branch_pipelines: Any) -> None:
        unknown = set(branch_pipelines) - set(branch_field)
        if unknown:
            raise ValueError(f'MultiBranch has a pipeline {unknown.pop()!r} that is not in branch_field {branch_field}')
        self.branch_field = list(branch_field)
        self.branch_pipelines = {
            name: Compose(pipeline if isinstance(pipeline, Sequence) else [pipeline])
            for name, pipeline in branch_pipelines.items()
        }

    def __call__(self, results: dict) -> dict | None:
        last = list(self.branch_pipelines)[-1]
        packed = {
            name: pipeline(results if name == last else deepcopy(results))
            for name, pipeline in self.branch_pipelines.items()
        }
        if None in packed.values():
            return None  # The data set draws another sample.
        keys = {key for view in packed.values() for key in view}
        return {key: {name: packed.get(name, {}).get(key) for name in self.branch_field} for key in sorted(keys)}

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.branch_pipelines})'


@MODELS.register_module()
class MultiBranchDataPreprocessor(BaseDataPreprocessor):
    """Data preprocessor that applies the usual one to each branch of :class:`MultiBranch` in training.

    Args:
        data_preprocessor: the usual one, also used in validation.
        stack: hand it a batch as one tensor, which is faster where it accepts one and all images have one size.
    """

    def __init__(self, data_preprocessor: dict | nn.Module, stack: bool = False) -> None:
        super().__init__()
        is_built = isinstance(data_preprocessor, nn.Module)
        self.data_preprocessor: Any = data_preprocessor if is_built else MODELS.build(data_preprocessor)
        self.stack = stack

    def forward(self, data: dict, training: bool = False) -> dict:
        """Return the preprocessed data, in training as ``{'inputs': {branch: ...}, 'data_samples': {branch: ...}}``.

        Raises:
            TypeError: if the data of a training step have no branches.
        """
        if not training:
            return self.data_preprocessor(data, training)
        if not isinstance(data.get('inputs'), dict):
            raise TypeError(
                'training data have no branches: end the pipelines with MultiBranch, and collate with pseudo_collate'
            )
        branches: dict[str, dict] = {}
        for key, views in data.items():
            for name, values in views.items():
                present = [value for value in values if value is not None]
                if present:
                    branches.setdefault(name, {})[key] = present
        if self.stack:
            for view in branches.values():
                view['inputs'] = torch.stack(view['inputs'])
        done = {name: self.data_preprocessor(view, training) for name, view in branches.items()}
        return {key: {name: view[key] for name, view in done.items()} for key in ('inputs', 'data_samples')}


def with_branches(
    data_preprocessor: dict | nn.Module | None, registry: Registry, default_type: str, **options: Any
) -> nn.Module:
    """Return a data preprocessor as it is if it knows branches, else wrapped in one that does, with its ``options``."""
    if not isinstance(data_preprocessor, nn.Module):
        data_preprocessor = registry.build({'type': default_type, **(data_preprocessor or {})})
    if isinstance(data_preprocessor, MultiBranchDataPreprocessor):
        return data_preprocessor
    return MultiBranchDataPreprocessor(data_preprocessor, **options)
