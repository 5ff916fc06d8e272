"""A part of the training images kept back for validation, to choose hyper-parameters by."""

from __future__ import annotations

from mmengine.config import Config, ConfigDict

from ..config_tree import iter_dicts
from ..errors import OptionError


def use_hold_out(cfg: Config, num_val: int = 5000, seed: int = 0) -> None:
    """Change a config so that it validates on ``num_val`` of its training images and trains on the rest of them.

    The validation keeps its pipeline. In semi-supervised training the images kept back are labeled ones.

    Raises:
        OptionError: if the config has no validation, or its training set is wrapped, so that it has no pipeline.
    """
    if not cfg.get('val_dataloader'):
        raise OptionError('the config has no val_dataloader, so there is no pipeline to validate with')
    whole = cfg.train_dataloader.dataset
    pipelines = (node.get('pipeline') for _, node in iter_dicts(cfg.val_dataloader.dataset))  # a wrapper may have it
    pipeline = next(filter(None, pipelines), None)
    if pipeline is None:
        raise OptionError('--hold-out: val_dataloader.dataset has no pipeline to validate the images kept back with')
    if whole.get('type') == 'SemiSupervisedDataset':  # Labels are what is to be held out there.
        whole.update(hold_out=num_val, hold_out_seed=seed)
        split = {key: value for key, value in whole.items() if key not in ('type', 'sup_pipeline', 'unsup_pipeline')}
        held_out = ConfigDict(split, type='LabelSplitDataset', part='held_out', pipeline=pipeline)
        cfg.val_dataloader = ConfigDict(cfg.val_dataloader, dataset=held_out)
        return
    if 'pipeline' not in whole:
        raise OptionError(
            f'train_dataloader.dataset is a {whole.get("type")} without a pipeline of its own: name the data set itself'
        )
    common = dict(type='SubsetDataset', num_images=num_val, seed=seed)
    held_out = ConfigDict(whole.copy(), pipeline=pipeline)
    # New loaders, as configs like to say test_dataloader = val_dataloader.
    cfg.val_dataloader = ConfigDict(cfg.val_dataloader, dataset=ConfigDict(common, part='chosen', dataset=held_out))
    cfg.train_dataloader = ConfigDict(cfg.train_dataloader, dataset=ConfigDict(common, part='rest', dataset=whole))
