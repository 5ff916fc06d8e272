"""The plan of a street: lanes, and the strips beside them, before anything is painted."""

from dataclasses import dataclass, field

from .chance import Rng, between, happens, pick

LANE = 3.2  # metres
FAR = 400.0


@dataclass(frozen=True)
class Strip:
    """A strip along the street between |x| = inner and outer: 'verge', 'tram', 'sidewalk' or 'garden'."""

    kind: str
    inner: float
    outer: float

    @property
    def middle(self) -> float:
        """Its centre line."""
        return 0.5 * (self.inner + self.outer)


@dataclass
class Side:
    """One side of the street; `sign` is -1 on the left and +1 on the right."""

    sign: int
    parking: float | None = None  # centre line of parked cars, |x|
    bike_lane: bool = False
    edge: float = 0.0  # |x| where the road ends
    strips: list[Strip] = field(default_factory=list)

    @property
    def front(self) -> float:
        """|x| where buildings begin."""
        return self.strips[-1].outer

    def find(self, kind: str) -> Strip | None:
        """The first strip of a kind, if there is one."""
        return next((s for s in self.strips if s.kind == kind), None)


@dataclass
class Street:
    """Lane centres carry their direction: +1 drives away from the camera, -1 towards it."""

    lanes: list[tuple[float, int]]
    left: Side
    right: Side
    crossing: tuple[float, float] | None
    end: float  # the street is closed or fades out here

    @property
    def sides(self) -> tuple[Side, Side]:
        """Left and right."""
        return self.left, self.right

    def in_crossing(self, z: float, margin: float = 0.0) -> bool:
        """Whether z lies in the cross street."""
        return self.crossing is not None and self.crossing[0] - margin < z < self.crossing[1] + margin


def _draw_side(rng: Rng, sign: int, lanes_edge: float, tram: bool) -> Side:
    side = Side(sign)
    edge = lanes_edge
    if happens(rng, 0.3) and not tram:
        side.bike_lane = True
        edge += 1.5
    if happens(rng, 0.45) and not tram:
        side.parking = edge + 1.15
        edge += 2.3
    side.edge = edge
    at = edge

    def add(kind: str, width: float) -> None:
        nonlocal at
        side.strips.append(Strip(kind, at, at + width))
        at += width

    if tram:
        add('tram', 3.6)
    if happens(rng, 0.45):
        add('verge', between(rng, 1.6, 3.6))
    add('sidewalk', between(rng, 3.0, 5.4))
    if happens(rng, 0.3):
        add('garden', between(rng, 1.8, 4.0))
    return side


def draw_street(rng: Rng) -> Street:
    """Choose lanes, strips and the cross street. The camera drives at x = 0 in a lane to the right of the middle."""
    offset = between(rng, -0.35, 0.35)
    ahead = pick(rng, (1, 1, 2))
    inner = pick(rng, (0, 1)) if ahead == 2 else 0  # which of our lanes we are in, from the kerb
    oncoming = pick(rng, (1, 1, 1, 2))
    own = [offset + LANE * (inner - i) for i in range(ahead)]
    other = [min(own) - LANE * (1 + i) for i in range(oncoming)]
    tram = pick(rng, (-1, 1)) if happens(rng, 0.42) else 0
    left = _draw_side(rng, -1, -(min(other) - LANE / 2), tram == -1)
    right = _draw_side(rng, 1, max(own) + LANE / 2, tram == 1)
    crossing = None
    if happens(rng, 0.5):
        start = between(rng, 16, 42)
        crossing = (start, start + between(rng, 8, 12))
    end = between(rng, 75, 140)
    return Street([(x, 1) for x in own] + [(x, -1) for x in other], left, right, crossing, end)
