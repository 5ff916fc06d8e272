"""The stage: what stands in the street, put into painter's order."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import takewhile

from .canvas import Canvas
from .chance import Rng
from .ground import Shadow
from .light import Light
from .nature import Nursery
from .street import Street

Entry = tuple[tuple[float, float, float, int], Callable[[], None], Shadow | None]


@dataclass
class Stage:
    """Collects the things of one scene.

    Painter's order: a ray that leaves the camera only ever moves outwards (|x| grows) and away (z grows). So the outer
    of two strips is painted first, and within a strip the farther thing. Things that cross the street break this; the
    cross street therefore cuts the scene into three zones, far to near, and inside the middle one depth alone decides.
    Things in the road itself (band 0) overlap sideways: they are compared pair by pair.
    """

    canvas: Canvas
    rng: Rng
    light: Light
    street: Street
    nursery: Nursery
    shadows: list[Shadow] = field(default_factory=list)
    _queue: list[Entry] = field(default_factory=list)

    def add(self, z: float, band: float, paint: Callable[[], None], shadow: Shadow | None = None) -> None:
        """Put a thing at depth z (its nearest point) into the strip whose middle is |x| = band."""
        zone = 0
        if self.street.crossing is not None:
            near, far = self.street.crossing[0] - 3, self.street.crossing[1] + 3
            zone = 0 if z >= far else 2 if z < near else 1
        key = (zone, -z, -band, len(self._queue)) if zone == 1 else (zone, -band, -z, len(self._queue))
        self._queue.append((key, paint, shadow if band == 0 and zone != 1 else None))
        if shadow is not None:
            self.shadows.append(shadow)

    def paint(self) -> None:
        """Paint everything, far to near."""
        queue = sorted(self._queue, key=lambda entry: entry[0])
        while queue:
            first = 0
            if queue[0][2] is not None:  # in the road: one that stands before none of the others
                group = list(takewhile(lambda entry: entry[2] is not None and entry[0][0] == queue[0][0][0], queue))
                free = (i for i, a in enumerate(group) if not any(_before(a[2], b[2]) for b in group if b is not a))
                first = next(free, 0)
            queue.pop(first)[1]()


def _before(a: Shadow | None, b: Shadow | None) -> bool:
    """Whether a thing with footprint a can hide one with footprint b."""
    if a is None or b is None:
        return False
    if a.z[1] <= b.z[0] or b.z[1] <= a.z[0]:
        return a.z[1] <= b.z[0]
    if a.x[1] <= b.x[0]:
        return b.x[0] > 0
    if b.x[1] <= a.x[0]:
        return b.x[1] < 0
    return a.z[0] < b.z[0]
