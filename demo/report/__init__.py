"""A report on a sweep as one HTML page that needs nothing but itself."""

from .page import render
from .records import Record, load_record

__all__ = ['Record', 'load_record', 'render']
