"""Up-sampling, shift and cross entropy in one pass."""

from .dispatch import upsampled_cross_entropy, wants_fusing
from .function import fused_cross_entropy, should_fuse

__all__ = ['fused_cross_entropy', 'should_fuse', 'upsampled_cross_entropy', 'wants_fusing']
