"""A report on two training runs as one self-contained HTML page."""

from .compare import compare_runs
from .page import render_report, write_report
from .pictures import Pictures, Scene, load_pictures
from .records import RunRecord, find_checkpoint, find_config, load_run

__all__ = [
    'Pictures',
    'RunRecord',
    'Scene',
    'compare_runs',
    'find_checkpoint',
    'find_config',
    'load_pictures',
    'load_run',
    'render_report',
    'write_report',
]
