"""What the tests of detection need: MMDetection, and MMCV with its compiled operators."""

from __future__ import annotations

import pytest


def skip_without_mmdet() -> None:
    """Skips the test, or the file, where a detector cannot be built."""
    pytest.importorskip('mmdet')
    try:
        import mmdet.models  # noqa: F401
        from mmcv.ops import RoIAlign, batched_nms  # noqa: F401
    except ImportError as error:
        pytest.skip(f"MMCV's compiled operators are missing ({error}): make builds them", allow_module_level=True)
