"""The benchmarks are scripts: what they share is found beside them."""

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / 'benchmarks'
sys.path.insert(0, str(BENCHMARKS))
