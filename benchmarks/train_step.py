"""What a whole training step costs with ISDA beside cross entropy: what MMEngine's runner does in an iteration.

From the data preprocessor to the optimizer, with ``ISDAHook`` before and after, on random images: PSPNet and DeepLab-v3
with both heads of 19 classes, unless the case says otherwise (``pspnet_r50-2x769``: ResNet-50, two images of 769x769;
``deeplabv3_r101-4x512-C150``), and the paper's classifiers (``resnet32``, ``wrn-28-10``, ...).

    python benchmarks/train_step.py [--cases pspnet_r18-2x512 wrn-16-8 ...] [--variants ...] [--json FILE]
"""

from __future__ import annotations

from measure import Benchmark, main_of
from workload import toolkit_of

BENCHMARK = Benchmark(
    script=__file__,
    step=lambda case, variant, device: toolkit_of(case).network_step(case, variant, device),
    variants=lambda case: toolkit_of(case).network_variants(case),
    cases=('pspnet_r18-2x512',),
)

if __name__ == '__main__':
    main_of(BENCHMARK, __doc__)
