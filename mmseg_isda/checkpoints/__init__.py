"""Checkpoints: safe reading, publishing, conversion. No toolkit is needed."""
