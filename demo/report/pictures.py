"""Pictures of a report: what two networks make of some validation images, and where they are right."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from mmseg_isda.checkpoints.reading import read_checkpoint
from mmseg_isda.commands.launch import import_plugin, load_config
from mmseg_isda.commands.preflight import check_data
from mmseg_isda.errors import OptionError

IGNORE = 255
VOID_COLOUR = (28, 28, 30)
# Colours of the map of who is right; the style sheet's light theme has the same for the two runs.
ONLY_FIRST, ONLY_SECOND, NEITHER, BOTH = (62, 106, 168), (232, 104, 18), (48, 46, 54), (206, 206, 206)
MAX_WIDTH = 640


@dataclass(frozen=True)
class Scene:
    """One validation image and its label maps.

    Args:
        name: What the image is called.
        image: (H, W, 3) uint8, RGB.
        truth: (H, W) class indices, ``IGNORE`` where nothing is scored.
        predictions: One (H, W) map of class indices for each run.
    """

    name: str
    image: np.ndarray
    truth: np.ndarray
    predictions: Sequence[np.ndarray]

    def accuracy(self, run: int) -> float:
        """Share of the scored pixels that ``run`` has right, in per cent; NaN if none is scored."""
        scored = self.truth != IGNORE
        return float(100 * (self.predictions[run] == self.truth)[scored].mean()) if scored.any() else float('nan')


@dataclass(frozen=True)
class Pictures:
    """Scenes with the names and RGB colours of the classes, in order of the class index."""

    classes: Sequence[str]
    palette: Sequence[Sequence[int]]
    scenes: Sequence[Scene]


def load_pictures(runs: Sequence[tuple[Any, str | Path]], *, count: int = 5, device: str | None = None) -> Pictures:
    """Let trained networks label images spread evenly over their validation set.

    Args:
        runs: A config (a path or an MMEngine ``Config``) and a checkpoint of each run.
        count: How many images; at most as many as the set has.
        device: By default the GPU if there is one.

    Raises:
        ValueError: if the runs were not validated on the same images with the same classes, or have no labels.
    """
    datasets, predicted = [], []
    for config, checkpoint in runs:
        dataset, samples = _predict(config, checkpoint, count, device)
        datasets.append(dataset)
        predicted.append(samples)
    first = datasets[0].metainfo
    for dataset, samples in zip(datasets[1:], predicted[1:], strict=True):
        if dataset.metainfo['classes'] != first['classes']:
            raise OptionError(
                'the two runs have different classes, so their pictures cannot be compared; leave the pictures out'
            )
        if [s.img_path for s in samples] != [s.img_path for s in predicted[0]]:
            raise OptionError('the two runs were validated on different images; leave the pictures out')
    scenes = [_scene(samples, datasets[0].img_suffix) for samples in zip(*predicted, strict=True)]
    palette = [tuple(int(c) for c in colour) for colour in first['palette']]
    return Pictures(tuple(first['classes']), palette, scenes)


def _predict(config: Any, checkpoint: str | Path, count: int, device: str | None) -> tuple[Any, list[Any]]:
    import torch
    from mmengine.dataset import pseudo_collate
    from mmengine.model import revert_sync_batchnorm
    from mmengine.registry import init_default_scope
    from mmseg.apis import init_model
    from mmseg.registry import DATASETS

    config = load_config(config) if isinstance(config, str | Path) else config
    read_checkpoint(checkpoint)  # says what is wrong with a damaged file, and lets the host read a sound one
    init_default_scope(config.get('default_scope', 'mmseg'))
    import_plugin(config)
    check_data(config, ('val_dataloader',))
    device = device or ('cuda:0' if torch.cuda.is_available() else 'cpu')
    model = revert_sync_batchnorm(init_model(config, str(checkpoint), device))
    dataset = DATASETS.build(config.val_dataloader.dataset)
    with torch.inference_mode():
        samples = [model.test_step(pseudo_collate([dataset[index]]))[0] for index in spread(len(dataset), count)]
    return dataset, samples


def spread(total: int, count: int) -> list[int]:
    """At most ``count`` different indices below ``total``, at equal distances."""
    count = min(count, total)
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def _scene(samples: Sequence[Any], suffix: str) -> Scene:
    """The outputs of all runs for one image, reduced where it is wider than a page can show."""
    path = samples[0].img_path
    if 'gt_sem_seg' not in samples[0]:
        raise OptionError(f"the validation pipeline gives no labels for {path}; add dict(type='LoadAnnotations')")
    image = cv2.cvtColor(cv2.imread(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    factor = min(1.0, MAX_WIDTH / image.shape[1])
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))

    def labels(pixel_data: Any) -> np.ndarray:
        array = pixel_data.data.squeeze(0).cpu().numpy().astype(np.uint8)
        return cv2.resize(array, size, interpolation=cv2.INTER_NEAREST)

    name = Path(path).name.removesuffix(suffix)
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return Scene(name, image, labels(samples[0].gt_sem_seg), [labels(s.pred_sem_seg) for s in samples])


def colour_labels(labels: np.ndarray, palette: Sequence[Sequence[int]]) -> Image.Image:
    """A label map as a palette image; every index without a colour is drawn as void."""
    table = np.full((256, 3), VOID_COLOUR, dtype=np.uint8)
    table[: len(palette)] = np.asarray(palette, dtype=np.uint8)
    picture = Image.fromarray(np.asarray(labels, dtype=np.uint8))
    picture.putpalette(table.tobytes())
    return picture


def compare(scene: Scene) -> Image.Image:
    """Where only one of two runs is right, and where neither is, over a faded image."""
    grey = cv2.cvtColor(scene.image, cv2.COLOR_RGB2GRAY)
    picture = np.repeat((170 + grey[..., None] // 4), 3, axis=2).astype(np.uint8)
    scored = scene.truth != IGNORE
    right = [prediction == scene.truth for prediction in scene.predictions]
    picture[scored & right[0] & ~right[1]] = ONLY_FIRST
    picture[scored & ~right[0] & right[1]] = ONLY_SECOND
    picture[scored & ~right[0] & ~right[1]] = NEITHER
    return Image.fromarray(picture)


def shares(scene: Scene) -> tuple[float, float]:
    """Per cent of the scored pixels that only the first and that only the second of two runs has right."""
    scored = scene.truth != IGNORE
    first, second = ((prediction == scene.truth)[scored] for prediction in scene.predictions)
    if not scored.any():
        return float('nan'), float('nan')
    return float(100 * (first & ~second).mean()), float(100 * (second & ~first).mean())


def data_uri(picture: Image.Image | np.ndarray) -> str:
    """Embed a picture: PNG for label maps (palette images and flat colours), JPEG for photographs."""
    buffer = io.BytesIO()
    if isinstance(picture, np.ndarray):
        kind = 'jpeg'
        Image.fromarray(picture).save(buffer, 'JPEG', quality=92)
    else:
        kind = 'png'
        picture.save(buffer, 'PNG', optimize=True)
    return f'data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode("ascii")}'
