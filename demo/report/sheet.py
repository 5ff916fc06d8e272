"""Draw the pictures of a report as one image: python -m demo.report.sheet SWEEP PREDICTIONS --out demo.jpg."""

import argparse
import sys
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.patches import Patch

from mmseg_isda.commands.outcome import run_command
from mmseg_isda.errors import OptionError

from . import load_record
from .page import read_maps
from .pictures import BOTH, NEITHER, ONLY_FIRST, ONLY_SECOND, color_labels, compare
from .records import Record


def draw_sheet(record: Record, out: Path, *, rows: int = 3) -> None:
    """Write image, truth, both predictions and who is right for the first test images of a segmentation sweep.

    Raises:
        OptionError: if the predictions are single labels.
    """
    found = record.predictions
    if found['kind'] != 'pixels':
        raise OptionError('a sheet needs predictions of segmentation, got single labels')
    titles = [record.titles[name] for name in found['shown']]
    heads = ['image', 'truth', *titles, 'who is right']
    entries = found['pictures'][:rows]
    pictures = [read_maps(record, entry) for entry in entries]
    height, width = pictures[0][0].shape[:2]
    side = 1.3 * (2 * height / width) ** 0.5  # of a picture, in inches
    size = (5 * side * width / height, 1.1 * side * len(entries) + 0.7)
    figure, axes = plt.subplots(len(entries), 5, figsize=size, squeeze=False)
    for line, (image, maps) in zip(axes, pictures, strict=True):
        labels = [color_labels(each, found['palette']).convert('RGB') for each in maps]
        for place, picture in zip(line, [image, *labels, compare(image, *maps)], strict=True):
            place.imshow(picture)
            place.axis('off')
    for place, head in zip(axes[0], heads, strict=True):
        place.set_title(head, fontsize=12)
    sides = {
        f'only {titles[0]}': ONLY_FIRST,
        f'only {titles[1]}': ONLY_SECOND,
        'both, or not scored': BOTH,
        'neither': NEITHER,
    }
    patches = [Patch(color=[channel / 255 for channel in color], label=label) for label, color in sides.items()]
    figure.legend(handles=patches, loc='lower right', ncols=4, frameon=False, fontsize=11)
    figure.subplots_adjust(0.004, 0.45 / figure.get_figheight(), 0.996, 1 - 0.3 / figure.get_figheight(), 0.03, 0.03)
    figure.savefig(out, dpi=100)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('sweep', type=Path, help='sweep.json, which mmseg-isda sweep wrote')
    parser.add_argument('predictions', type=Path, help='folder that python -m demo.predict wrote')
    parser.add_argument('--titles', nargs='+', default=[], metavar='NAME', help='what to call the variants')
    parser.add_argument('--rows', type=int, default=3, help='number of images (default: %(default)s)')
    parser.add_argument('--out', type=Path, default=Path('demo.jpg'), help='image to write (default: %(default)s)')
    args = parser.parse_args()
    draw_sheet(load_record(args.sweep, titles=args.titles, predictions=args.predictions), args.out, rows=args.rows)


if __name__ == '__main__':
    sys.exit(run_command(main))
