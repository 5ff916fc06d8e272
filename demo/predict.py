"""Let the trained networks of a sweep predict the test images: python -m demo.predict SWEEP OUT.

OUT/predictions.json has the score of each class by run, how often which network is right, and the pictures to show.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner, set_random_seed
from rich.progress import track
from torch import nn

from mmseg_isda.checkpoints.fit import check_weights
from mmseg_isda.checkpoints.reading import read_checkpoint, state_dict_of
from mmseg_isda.commands.launch import import_plugin, load_config, replace_sync_bn
from mmseg_isda.commands.outcome import run_command
from mmseg_isda.commands.records import read_json, write_json
from mmseg_isda.commands.resume import find_newest
from mmseg_isda.errors import MissingPathError
from mmseg_isda.files import check_file

RECORD = 'predictions.json'
IGNORED = 255


def predict_sweep(sweep: Path, out: Path, *, pictures: int) -> dict[str, Any]:
    """Predict the test images of every run of a sweep; return the record, which is written last.

    Nothing is done where the record of the very same sweep is there.

    Args:
        sweep: ``sweep.json``.
        out: folder of the record and of the pictures.
        pictures: how many images of the first seed to show.

    Raises:
        MissingPathError: if a file of a run is missing.
    """
    check_file(sweep, 'sweep', 'it is written when all runs are over: run the sweep again')
    mark = hashlib.sha256(sweep.read_bytes() + str(pictures).encode()).hexdigest()
    comparison = read_json(sweep, 'baseline', 'runs', 'variants')
    if (out / RECORD).is_file() and (known := read_json(out / RECORD, 'sweep'))['sweep'] == mark:
        return known
    shown = shown_pair(comparison)
    runs = [run for run in comparison['runs'] if run['error'] is None]
    kept: dict[tuple[int, str], list] = {}
    record: dict[str, Any] = {'sweep': mark, 'shown': shown, 'runs': [], 'right': [], 'pictures': []}
    for run in track(runs, 'Predicting'):
        network, loader = load_run(Path(run['folder']))
        samples = list(predict(network, loader))
        record |= {'classes': loader.dataset.metainfo['classes'], 'palette': loader.dataset.metainfo.get('palette')}
        record |= {'kind': 'pixels' if samples[0].truth.ndim else 'images'}
        scores = class_scores(samples, len(record['classes']))
        record['runs'].append({'variant': run['variant'], 'seed': run['seed'], 'scores': scores})
        if run['variant'] in shown:
            kept[run['seed'], run['variant']] = samples
        pair = [kept.get((run['seed'], name)) for name in shown]
        if run['variant'] in shown and all(pair):
            record['right'].append({'seed': run['seed'], **who_is_right(*pair)})
            if not record['pictures']:
                record['pictures'] = list(write_pictures(out / 'pictures', loader.dataset, pair, shown, pictures))
            for name in shown:
                del kept[run['seed'], name]
    write_json(out / RECORD, record)
    return record


def shown_pair(comparison: Mapping[str, Any]) -> list[str]:
    """Return the baseline and the variant to show beside it: the best one, or the first."""
    others = [entry['name'] for entry in comparison['variants'] if entry['name'] != comparison['baseline']]
    best = comparison.get('best')
    return [comparison['baseline'], best if best in others else others[0]]


class Sample:
    """One test image: its index, what is true and what was predicted, (H, W) or a single class."""

    def __init__(self, index: int, truth: np.ndarray, predicted: np.ndarray) -> None:
        self.index, self.truth, self.predicted = index, truth, predicted

    @property
    def right(self) -> np.ndarray:
        """Return where the scored prediction is right, as one row."""
        scored = self.truth != IGNORED
        return (self.predicted == self.truth)[scored].ravel()


# --- one run ---------------------------------------------------------------------------------------------------------


def load_run(folder: Path) -> tuple[nn.Module, Any]:
    """Return the trained network of a run and the loader of its test images."""
    cfg = load_config(find_config(folder))
    cfg.work_dir = str(folder)  # it may have been moved
    # The labeled images of a run, and so the test images that are the rest, may depend on its seed.
    set_random_seed((cfg.get('randomness') or {}).get('seed'))
    checkpoint, _ = find_newest(cfg)
    if checkpoint is None:
        raise MissingPathError(f'{folder} has no sound checkpoint: train again in another --work-dir')
    network = build_network(cfg, checkpoint)
    return network, Runner.build_dataloader(cfg.test_dataloader)


def find_config(folder: Path) -> Path:
    """Return the config that a training left in its folder.

    Raises:
        MissingPathError: if there is none.
    """
    found = sorted(Path(folder).glob('*.py'))
    if not found:
        raise MissingPathError(f'{folder} has no config: name the --work-dir of a training')
    return found[0]


def build_network(cfg: Config, checkpoint: Path, device: str = 'cpu') -> nn.Module:
    """Build the network of a config for inference, with the weights of a checkpoint.

    Raises:
        CheckpointError: if the checkpoint is damaged or of another network.
    """
    init_default_scope(cfg.default_scope)
    import_plugin(cfg)
    replace_sync_bn(cfg)
    settings = ConfigDict(cfg.model)
    settings.backbone.init_cfg = None  # the checkpoint has the backbone; its first weights may be gone
    if cfg.get('data_preprocessor'):
        settings.setdefault('data_preprocessor', cfg.data_preprocessor)
    network = MODELS.build(settings).to(device)
    check_weights(network, checkpoint)
    network.load_state_dict(state_dict_of(read_checkpoint(checkpoint), checkpoint), strict=False)
    network.cfg = cfg  # which inference_detector reads
    return network.eval()


@torch.inference_mode()
def predict(network: nn.Module, loader: Any) -> Iterator[Sample]:
    """Yield truth and prediction of each test image, of MMSegmentation or MMPretrain."""
    index = 0
    for batch in loader:
        for found in network.test_step(batch):
            if 'pred_sem_seg' in found:
                truth, predicted = found.gt_sem_seg.data[0], found.pred_sem_seg.data[0]
            else:
                truth, predicted = found.gt_label[0], found.pred_label[0]
            yield Sample(index, *(value.cpu().numpy().astype(np.uint8) for value in (truth, predicted)))
            index += 1


def class_scores(samples: Sequence[Sample], classes: int) -> list[float | None]:
    """Return the IoU of each class in per cent; for single labels, the share of a class that is recognized."""
    matrix = np.zeros((classes, classes))
    for sample in samples:
        scored = sample.truth != IGNORED
        pairs = sample.truth[scored].astype(int) * classes + sample.predicted[scored]
        matrix += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    right, there = np.diag(matrix), matrix.sum(1)
    total = there + matrix.sum(0) - right if samples[0].truth.ndim else there
    return [float(100 * r / t) if t else None for r, t in zip(right, total, strict=True)]


def who_is_right(first: Sequence[Sample], second: Sequence[Sample]) -> dict[str, float]:
    """Return the shares, in per cent, that both, only one, or neither of two networks has right."""
    a, b = (np.concatenate([sample.right for sample in samples]) for samples in (first, second))
    shares = {'both': a & b, 'first': a & ~b, 'second': ~a & b, 'neither': ~a & ~b}
    return {name: float(100 * share.mean()) for name, share in shares.items()}


# --- pictures --------------------------------------------------------------------------------------------------------


def write_pictures(
    folder: Path, dataset: Any, pair: Sequence[Sequence[Sample]], names: Sequence[str], count: int
) -> Iterator[dict[str, Any]]:
    """Write test images and, for segmentation, their label maps; yield the record of each.

    Of images with one label those are shown that a network has wrong, the first ones; else images at equal distances.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wrong = [i for i, both in enumerate(zip(*pair, strict=True)) if not all(sample.right.all() for sample in both)]
    chosen = spread(len(pair[0]), count) if pair[0][0].truth.ndim else wrong[:count]
    for index in chosen:
        info = dataset.get_data_info(index)
        image = info['img'] if 'img' in info else cv2.imread(info['img_path'])
        maps = [samples[index].predicted for samples in pair]
        truth, *predicted = (
            _write(folder, index, number, value) for number, value in enumerate([pair[0][index].truth, *maps])
        )
        yield {
            'name': Path(info.get('img_path', f'image {index}')).stem,
            'image': _write(folder, index, 'image', image),
            'truth': truth,
            'predictions': dict(zip(names, predicted, strict=True)),
        }


def _write(folder: Path, index: int, suffix: int | str, value: np.ndarray) -> str | int:
    """Write an image or a label map and return its name; a single label is returned as it is."""
    if not value.ndim:
        return int(value)
    path = folder / f'{index:05d}_{suffix}.png'
    cv2.imwrite(str(path), value)
    return f'{folder.name}/{path.name}'


def spread(total: int, count: int) -> list[int]:
    """Return at most ``count`` different indices below ``total``, at equal distances."""
    count = min(count, total)
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('sweep', type=Path, help='sweep.json, which mmseg-isda sweep wrote')
    parser.add_argument('out', type=Path, help='folder of the predictions')
    parser.add_argument('--pictures', type=int, default=4, metavar='N', help='images to show (default: 4)')
    args = parser.parse_args()
    predict_sweep(args.sweep, args.out, pictures=args.pictures)


if __name__ == '__main__':
    sys.exit(run_command(main))
