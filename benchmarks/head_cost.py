"""What a head costs with ISDA beside cross entropy: all that differs, from the classifier on, forward and backward.

Decode heads of MMSegmentation (``N2C19``: two images, 19 classes, 512 features): classifier, up-sampling, statistics,
table, loss and accuracy. The naive term is Eq. 7 transcribed literally, with tensors of pixels x classes x features; it
is left out where that is too much. Linear heads of MMPretrain (``resnet32``: the last layer of that network).

    python benchmarks/head_cost.py [--cases N2C19 N1C1000A256 resnet32 ...] [--variants ...] [--json FILE]
"""

from __future__ import annotations

from measure import Benchmark, main_of
from workload import toolkit_of

BENCHMARK = Benchmark(
    script=__file__,
    step=lambda case, variant, device: toolkit_of(case).head_step(case, variant, device),
    variants=lambda case: toolkit_of(case).head_variants(case),
    cases=('N2C19', 'N2C150'),
)

if __name__ == '__main__':
    main_of(BENCHMARK, __doc__)
