"""A trained network and its data, as every analysis asks for them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..checkpoints.fit import check_weights
from ..checkpoints.reading import read_checkpoint, seed_of, state_dict_of
from ..commands.launch import import_plugin, load_config, replace_sync_bn
from ..commands.preflight import check_data, set_subset_seeds
from ..config_tree import iter_datasets, iter_dicts, type_name
from ..engine import ISDALossBase, bind_isda_losses, strength_at
from ..engine.binding import tapped_losses
from ..errors import CheckpointError, OptionError

# Where the heads of our configs have their classifier, for networks without an ISDA loss that names it.
USUAL_CLASSIFIERS = ('decode_head.conv_seg', 'head.fc')


@dataclass(frozen=True)
class Trained:
    """A network with the weights of a checkpoint, in evaluation mode."""

    path: Path  # of the checkpoint
    cfg: Config
    model: nn.Module
    classifier: nn.Module  # its linear layer or 1x1 convolution
    statistics: nn.Module | None  # of its ISDA loss; None if the checkpoint has none
    strength: float | None  # lambda when the checkpoint was written; None without ISDA
    step: int | None  # epochs, or iterations, of training so far; None if the checkpoint does not say
    unit: str  # 'epoch' or 'iteration'
    seed: int | None  # of the training; None if the checkpoint does not say

    @property
    def title(self) -> str:
        """Its folder and how long it was trained, in words."""
        return f'{self.path.absolute().parent.name}, ' + (f'{self.unit} {self.step}' if self.step else self.path.name)

    @property
    def weight(self) -> Tensor:
        """(C, A) weight of the classifier, on the CPU."""
        return self.classifier.weight.detach().flatten(1).float().cpu()

    @property
    def bias(self) -> Tensor:
        """(C,) bias of the classifier, on the CPU."""
        bias = self.classifier.bias
        return torch.zeros(len(self.weight)) if bias is None else bias.detach().float().cpu()

    def needs_statistics(self) -> Trained:
        """Return self, if the checkpoint has statistics and a strength."""
        if self.statistics is None or self.strength is None:
            raise CheckpointError(
                f'{self.path} holds no ISDA statistics (trained without ISDA, or published without them): name a '
                f'training checkpoint of an ISDA loss with its config, or estimate them: --estimate full'
            )
        return self


def open_trained(
    config: Path, checkpoint: Path, *, classifier: str | None = None, options: dict | None = None
) -> Trained:
    """Build the network of a config and load a checkpoint into it.

    ``classifier`` names the layer to look at, such as ``'auxiliary_head.conv_seg'``; by default it is that of the first
    ISDA loss, or a usual one.
    """
    cfg = load_config(config, options)
    import_plugin(cfg)
    replace_sync_bn(cfg)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    settings = ConfigDict(cfg.model)
    settings.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    model = MODELS.build(settings)
    losses = [loss for _, loss in tapped_losses(model) if isinstance(loss, ISDALossBase) and loss.needs_tap]
    if losses:
        bind_isda_losses(model)
    check_weights(model, checkpoint)
    saved = read_checkpoint(checkpoint)
    model.load_state_dict(state_dict_of(saved, checkpoint), strict=False)
    loss = next((loss for loss in losses if classifier in (None, loss.tap.name)), None)
    has_statistics = loss is not None and bool(loss.statistics.count.sum())
    step, total, unit = _progress(saved.get('meta') or {}, cfg)
    return Trained(
        path=Path(checkpoint),
        cfg=cfg,
        model=model.to(get_device()).eval(),
        classifier=_find_layer(model, classifier) if loss is None else loss.tap.classifier,
        statistics=copy.deepcopy(loss.statistics).cpu() if has_statistics else None,
        strength=None if loss is None else _strength(loss, step, total),
        step=step,
        unit=unit,
        seed=seed_of(saved),
    )


def _find_layer(model: nn.Module, name: str | None) -> nn.Module:
    modules = dict(model.named_modules())
    names = USUAL_CLASSIFIERS if name is None else (name,)
    found = next((modules[key] for key in names if key in modules), None)
    if found is None:
        raise OptionError(
            f'there is no layer {" or ".join(names)!r} in the network: name the linear layer or 1x1 convolution that '
            f'makes the logits by --classifier'
        )
    return found


def _progress(meta: dict, cfg: Config) -> tuple[int | None, int | None, str]:
    loop = cfg.get('train_cfg') or {}
    if 'max_epochs' in loop or loop.get('by_epoch', False):
        return meta.get('epoch'), loop.get('max_epochs'), 'epoch'
    return meta.get('iter'), loop.get('max_iters'), 'iteration'


def _strength(loss: nn.Module, step: int | None, total: int | None) -> float:
    if not step or not total:
        return loss.lambda_0
    done = min(step, total) - 1
    return strength_at(
        loss.lambda_0, loss.schedule, iteration=done, max_iters=total, epoch=done, max_epochs=max(total, 2)
    )


# --- the data --------------------------------------------------------------------------------------------------------


def build_dataset(cfg: Config, split: str, seed: int | None = None) -> Dataset:
    """Build the data set of a split with the pipeline of validation, which changes nothing at random.

    ``seed`` is that of the training, where it is known: images that it drew must be the same ones.
    """
    name = f'{split}_dataloader'
    if not cfg.get(name):
        raise OptionError(f'the config has no {name}: name another split by --split')
    check_data(cfg, [name])
    set_subset_seeds(cfg, [name], seed)
    settings = copy.deepcopy(cfg[name].dataset)
    for _, node in iter_dicts(settings):
        if 'pipeline' in node:
            node['pipeline'] = []
    for _, dataset in iter_datasets(settings):
        dataset['pipeline'] = plain_pipeline(cfg)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    return DATASETS.build(settings)


def plain_pipeline(cfg: Config) -> list[dict]:
    """Return the steps of validation, those of wrapped data sets first."""
    steps: list[dict] = []
    dataset = (cfg.get('val_dataloader') or cfg.get('test_dataloader') or {}).get('dataset')
    while dataset:
        steps = [*(dataset.get('pipeline') or ()), *steps]
        dataset = dataset.get('dataset') or next(iter(dataset.get('datasets') or ()), None)
    return steps


def class_names(dataset: Dataset, num_classes: int) -> list[str]:
    """Return the names of the classes, or their numbers where the data set names none."""
    names = list((getattr(dataset, 'metainfo', None) or {}).get('classes') or ())
    return [str(name) for name in names] if len(names) == num_classes else [str(i) for i in range(num_classes)]


def as_picture(image: Tensor, cfg: Config) -> np.ndarray:
    """Return (H, W, 3) in the order red, green, blue, or (H, W, 1), of an image (channels, H, W) as it was loaded."""
    picture = image.float().permute(1, 2, 0).numpy()
    return picture[..., ::-1] if _is_blue_first(cfg) and picture.shape[2] == 3 else picture


def _is_blue_first(cfg: Config) -> bool:
    """Whether the pipeline of validation yields blue first, as OpenCV reads images."""
    for step in plain_pipeline(cfg):
        if type_name(step.get('type')).startswith('LoadImage'):
            return step.get('channel_order', 'bgr') == 'bgr' and step.get('imdecode_backend', 'cv2') == 'cv2'
    return False


def patch_of(image: np.ndarray, position: Sequence[float], share: float = 0.25) -> np.ndarray:
    """Cut the square around a position (row and column, 0 to 1) out of an image (H, W, channels).

    Its side is a share of the image's height; near a border the square is moved inside.
    """
    side = max(1, min(round(share * image.shape[0]), *image.shape[:2]))
    top, left = (
        int(np.clip(round(at * size - side / 2), 0, size - side))
        for at, size in zip(position, image.shape[:2], strict=True)
    )
    return image[top : top + side, left : left + side]
