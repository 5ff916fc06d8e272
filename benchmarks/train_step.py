"""What a whole training step costs with ISDA on both heads beside plain cross entropy: time and peak memory.

The networks of configs/camvid with 19 classes, random images, SGD: what a runner of MMEngine does in an iteration, from
the data preprocessor to the optimizer, with ISDAHook before and after it.

    python benchmarks/train_step.py [--networks pspnet_r18 deeplabv3_r50 ...] [--crop 512] [--images 2] [--json FILE]
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from measure import Row, compare, in_own_process, interleaved, parser_of, peak_memory, progress, run_with_allocators
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from workload import device, street_labels

import mmseg_isda  # noqa: F401
from mmseg_isda.engine import ISDAHook

CONFIGS = Path(__file__).parents[1] / 'configs' / 'camvid'
NETWORKS = tuple(f'{family}_r{depth}' for family in ('pspnet', 'deeplabv3') for depth in (18, 50, 101))
CLASSES = 19
BASE = 'cross entropy'
FUSED_HEADS = {'PSPHead': 'FusedPSPHead', 'ASPPHead': 'FusedASPPHead', 'FCNHead': 'FusedFCNHead'}
# name: (fused heads, loss)
VARIANTS = {
    BASE: (False, dict(type='CrossEntropyLoss')),
    'ISDA': (False, dict(type='ISDASegLoss')),
    'ISDA, fused heads': (True, dict(type='ISDASegLoss')),
    'ISDA full, fused heads': (True, dict(type='ISDASegLoss', covariance='full')),
    'fused cross entropy, fused heads': (True, dict(type='FusedCrossEntropyLoss')),
}


def build(network: str, variant: str, crop: int) -> torch.nn.Module:
    """The network in training mode."""
    family, depth = network.split('_r')
    base = '18' if depth == '18' else '50'
    model = Config.fromfile(CONFIGS / f'{family}_r{base}-d8_1xb8-8k_camvid-360x480.py').model
    model.backbone.depth = int(depth)
    model.data_preprocessor.size = (crop, crop)
    fused, loss = VARIANTS[variant]
    for head, weight in ((model.decode_head, 1.0), (model.auxiliary_head, 0.4)):
        head.num_classes = CLASSES
        head.loss_decode = dict(loss, loss_weight=weight)
        head.type = FUSED_HEADS[head.type] if fused else head.type
    torch.manual_seed(0)
    return MODELS.build(model).to(device()).train()


def step(network: str, variant: str, crop: int, images: int) -> Callable[[], None]:
    """A call that makes one training step."""
    model = build(network, variant, crop)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4))
    name = f'{network} {variant}'
    runner = SimpleNamespace(model=model, iter=500, max_iters=1000, epoch=0, max_epochs=1, optim_wrapper=wrapper)
    runner.message_hub = MessageHub.get_instance(name)
    runner.logger = MMLogger.get_instance(name, log_level='WARNING')
    hook = ISDAHook() if 'ISDA' in variant else None
    labels = street_labels(images, CLASSES, crop).cpu()
    inputs = [torch.randint(0, 256, (3, crop, crop), dtype=torch.uint8) for _ in range(images)]
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]
    for sample in samples:
        sample.set_metainfo(dict(img_shape=(crop, crop), ori_shape=(crop, crop)))
    if hook:
        hook.before_run(runner)

    def call() -> None:
        if hook:
            hook.before_train_iter(runner, 0)
        # The preprocessor puts labels into the samples it is given.
        model.train_step(dict(inputs=list(inputs), data_samples=[sample.clone() for sample in samples]), wrapper)
        if hook:
            hook.after_train_iter(runner, 0)

    return call


def measure(networks: list[str], variants: list[str], crop: int, images: int, runs: int) -> dict:
    """Prints a table for each network and returns the figures."""
    results, begin = {}, time.time()
    for done, network in enumerate(networks, 1):
        sizes = ('--crop', str(crop), '--images', str(images))
        peaks = {name: in_own_process(__file__, '--peak', network, name, *sizes) for name in variants}
        times = interleaved({name: step(network, name, crop, images) for name in variants}, runs, warmup=1)
        title = f'{network}, {images} x {crop}x{crop}'
        results[title] = compare({name: Row(times[name], peaks[name]) for name in variants}, BASE, title)
        progress(done, len(networks), begin, 'networks')
    return results


def main() -> None:
    warnings.filterwarnings('ignore')
    parser = parser_of(__doc__)
    parser.add_argument('--networks', nargs='+', choices=NETWORKS, default=['pspnet_r18'])
    parser.add_argument('--variants', nargs='+', choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument('--crop', type=int, default=512, help='height and width of an image in pixels')
    parser.add_argument('--images', type=int, default=2, help='images in a batch')
    parser.add_argument('--peak', nargs=2, metavar=('NETWORK', 'VARIANT'), help='print the peak memory of one in MB')
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    init_default_scope('mmseg')
    if options.peak:
        print(peak_memory(step(*options.peak, options.crop, options.images)))
        return
    variants = [BASE, *(name for name in options.variants if name != BASE)]
    arguments = (options.networks, variants, options.crop, options.images, options.runs)
    run_with_allocators(options, lambda: measure(*arguments))


if __name__ == '__main__':
    main()
