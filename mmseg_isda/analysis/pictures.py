"""How every picture looks, and how it is written beside its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..commands.records import write_json
from ..files import move_into_place, temporary_beside

# Okabe and Ito's colors, which color-blind readers tell apart; yellow is left out, as it fades on white.
COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
MARKERS = ('o', 's', '^', 'D', 'v', 'P', '*')
GRAY = '#888888'
STYLE = {
    'figure.constrained_layout.use': True,
    'savefig.dpi': 200,
    'font.size': 10,
    'axes.titlesize': 11,
    'axes.titlelocation': 'left',
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'axes.grid.axis': 'y',
    'axes.axisbelow': True,
    'grid.color': '#DDDDDD',
    'image.cmap': 'cividis',
    'legend.frameon': False,
    'lines.linewidth': 1.8,
    'lines.markersize': 4.5,
}


def color_and_marker(index: int) -> tuple[str, str]:
    """Return the look of a class or a run: 49 different pairs, neighbors of different color and shape."""
    return COLORS[index % len(COLORS)], MARKERS[(index + index // len(COLORS)) % len(MARKERS)]


def show_image(axes: Axes, image: np.ndarray, note: str = '', *, color: str = 'black') -> None:
    """Draw an image (H, W, 3) or (H, W, 1), 0 to 255, without axes, framed, with a note below it."""
    axes.imshow(np.clip(image, 0, 255).astype(np.uint8).repeat(4 - image.shape[2], 2)[..., :3], interpolation='nearest')
    axes.grid(False)
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(note, fontsize=7, color=color, labelpad=2)
    for spine in axes.spines.values():
        spine.set(visible=True, color=color, linewidth=1.5 if color != 'black' else 0.5)


def write_results(folder: Path, name: str, numbers: dict[str, Any], figure: Figure) -> None:
    """Write ``name.png`` and ``name.json`` into a folder, which is made; tensors and arrays become lists."""
    with temporary_beside(folder / f'{name}.png') as temporary:
        figure.savefig(temporary, format='png')
        move_into_place(temporary, folder / f'{name}.png', force=True)
    write_json(folder / f'{name}.json', numbers)
