"""Up-sampling, shift and cross entropy in one pass."""

from .function import fused_cross_entropy, should_fuse

__all__ = ['fused_cross_entropy', 'should_fuse']
