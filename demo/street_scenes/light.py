"""Time of day, weather and season: what lights the scene, how the sky looks, and how the camera exposes the picture."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from .canvas import Canvas, Point
from .chance import Colour, Rng, between, happens, mixed, pick, smooth_noise, varied

SEASONS = ('spring', 'summer', 'summer', 'autumn', 'winter')


@dataclass(frozen=True)
class Light:
    """One scene's light. `sun` points to the sun (unit vector); strength 0 means that it is hidden."""

    name: str
    season: str
    sky_top: Colour
    sky_low: Colour
    haze: Colour
    extinction: float  # per metre
    tint: Colour  # gain of each channel
    sun: Point
    strength: float
    ambient: float
    clouds: float
    lamps_on: bool
    wet: bool

    def on(self, nx: float, ny: float, nz: float) -> float:
        """Brightness of a surface with this normal."""
        facing = nx * self.sun[0] + ny * self.sun[1] + nz * self.sun[2]
        return self.ambient + self.strength * max(0.0, facing) + 0.06 * ny

    @property
    def glass(self) -> Colour:
        """Window glass mirrors a dark sky."""
        return mixed((44, 38, 34), self.sky_top, 0.16)


# name: sky top, sky low, extinction, tint, sun strength, ambient, clouds, sun elevation (degrees), weight
_WEATHER = {
    'noon': ((196, 132, 62), (232, 208, 172), 0.0035, (1.0, 1.0, 1.0), 0.55, 0.62, 0.25, (40, 65), 4),
    'fair': ((206, 150, 88), (238, 222, 200), 0.005, (0.99, 1.0, 1.01), 0.5, 0.64, 0.75, (35, 60), 4),
    'golden': ((184, 146, 108), (160, 204, 248), 0.008, (0.88, 1.0, 1.1), 0.62, 0.6, 0.4, (10, 22), 3),
    'overcast': ((206, 198, 188), (226, 222, 216), 0.009, (1.02, 0.99, 0.96), 0.0, 0.92, 1.0, (50, 60), 3),
    'rain': ((158, 150, 142), (186, 182, 176), 0.014, (0.92, 0.87, 0.83), 0.0, 0.86, 1.0, (50, 60), 2),
    'mist': ((214, 208, 202), (222, 219, 214), 0.026, (0.98, 0.98, 0.98), 0.1, 0.86, 0.6, (20, 40), 2),
    'dusk': ((112, 66, 38), (122, 138, 226), 0.007, (0.92, 0.77, 0.73), 0.12, 0.78, 0.5, (5, 9), 2),
}


def draw_light(rng: Rng) -> Light:
    """Choose weather, hour, season and the direction of the sun."""
    name = pick(rng, [n for n, w in _WEATHER.items() for _ in range(w[-1])])
    top, low, extinction, tint, strength, ambient, clouds, elevation, _ = _WEATHER[name]
    up, around = math.radians(between(rng, *elevation)), between(rng, 0, 2 * math.pi)
    sun = (math.cos(up) * math.sin(around), math.sin(up), math.cos(up) * math.cos(around))
    low = varied(rng, low, 0.06)
    return Light(
        name=name,
        season=pick(rng, SEASONS),
        sky_top=varied(rng, top, 0.1),
        sky_low=low,
        haze=mixed(low, (212, 206, 200), 0.35) if name != 'dusk' else mixed(low, (120, 90, 90), 0.5),
        extinction=extinction * between(rng, 0.6, 1.4),
        tint=tint,
        sun=sun,
        strength=strength,
        ambient=ambient,
        clouds=clouds * between(rng, 0.4, 1.2),
        lamps_on=name == 'dusk' or (name in ('rain', 'mist') and happens(rng, 0.5)),
        wet=name == 'rain' or happens(rng, 0.07),
    )


def paint_sky(canvas: Canvas, rng: Rng, light: Light) -> None:
    """Gradient, sun glow and clouds down to the horizon; made at half size, as nothing in a sky is sharp."""
    cam = canvas.camera
    rows = min(cam.height, round(cam.horizon) + 2)
    h, w = max(2, rows // 2), cam.width // 2
    down = np.linspace(0, 1, h, dtype=np.float32)[:, None, None] ** 1.3
    sky = np.float32(light.sky_top) * (1 - down) + np.float32(light.sky_low) * down
    sky = np.broadcast_to(sky, (h, w, 3)).copy()
    if light.sun[2] > 0.2 and light.strength > 0:
        x = (cam.cx + cam.focal * light.sun[0] / light.sun[2]) / 2
        y = (cam.horizon - cam.focal * light.sun[1] / light.sun[2]) / 2
        away = np.hypot(np.arange(w, dtype=np.float32) - x, np.arange(h, dtype=np.float32)[:, None] - y)
        glow = np.exp(-away / (0.32 * h)) + 1.5 * (away < 0.06 * h)
        sky += glow[..., None] * np.float32((50, 85, 110))
    stretched = smooth_noise(rng, h, w, 0.75 * h * between(rng, 0.6, 1.2), 4) if light.clouds > 0 else 0
    cover = np.clip((stretched + light.clouds - 0.75) * 1.8, 0, 1)[..., None] * (0.85 - 0.45 * down)
    lit = mixed((250, 248, 246), light.sky_low, 0.75 if light.name == 'dusk' else 0.3)
    shade = mixed(light.sky_top, (150, 140, 135), 0.5)
    body = np.clip(0.55 - stretched * 0.55, 0, 1)[..., None]
    sky += cover * (np.float32(lit) * (1 - 0.6 * body) + np.float32(shade) * (0.6 * body) - sky)
    canvas.pixels[:rows, :, :3] = cv2.resize(np.clip(sky, 0, 255), (cam.width, rows)).astype(np.uint8)


def _ground_texture(rng: Rng, inverse_depth: np.ndarray, camera: tuple[float, float, float]) -> np.ndarray:
    """Gain (H, W) of the ground: grain and patches that lie in the street's plane and fade with distance."""
    focal, cx, _ = camera
    w = inverse_depth.shape[1]
    grain = rng.standard_normal((256, 256), dtype=np.float32)
    patches = smooth_noise(rng, 256, 256, 26, 2)
    z = 1 / inverse_depth
    x = (np.arange(w, dtype=np.float32) - cx) * z / focal
    fine = cv2.remap(grain, x * 9, z * 9, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    broad = cv2.remap(patches, x * 7, z * 4, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    fade = np.clip(inverse_depth * 9, 0, 1)
    return 1 + 0.055 * fine * fade + 0.09 * broad * np.sqrt(fade)


def expose(
    canvas: Canvas, rng: Rng, light: Light, shadows: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Reduce the canvas to `size` (H, W) and take the photograph: texture, shadow, haze, lens and sensor.

    `shadows` (H, W) float32 is the share of sunlight that each ground pixel loses. Returns BGR and raw labels.
    """
    h, w = size
    step = canvas.pixels.shape[0] / h
    surface = cv2.resize(canvas.pixels[..., 3], (w, h), interpolation=cv2.INTER_NEAREST)
    image = cv2.resize(canvas.pixels[..., :3], (w, h), interpolation=cv2.INTER_AREA).astype(np.float32)
    a, b, c = np.float32(canvas.planes).T
    inverse = (
        a[surface] * step * np.arange(w, dtype=np.float32)
        + b[surface] * step * np.arange(h, dtype=np.float32)[:, None]
        + c[surface]
    )
    inverse = np.maximum(inverse, 1e-4)
    cam = canvas.camera
    gain = _ground_texture(rng, inverse, (cam.focal / step, cam.cx / step, cam.horizon / step)) * (1 - shadows)
    image *= np.where(np.array(canvas.is_ground)[surface], gain, 1)[..., None]
    if light.wet:
        image = _reflect(image, np.array([label == 7 for label in canvas.labels])[surface], cam.horizon / step)
    through = np.exp(-light.extinction / inverse)
    through[surface == 0] = 1
    image = np.float32(light.haze) + (image - np.float32(light.haze)) * through[..., None]
    bright = np.clip((image.max(2) - 225) / 30, 0, 1)[..., None]  # lamps and lit windows keep their glow
    image *= np.float32(light.tint) * (1 - bright) + bright
    return _photograph(image, rng, light), np.array(canvas.labels, np.uint8)[surface]


def _reflect(image: np.ndarray, road: np.ndarray, horizon: float) -> np.ndarray:
    """A wet road mirrors, blurred, what stands above it."""
    h, w = road.shape
    rows = np.clip(np.rint(2 * horizon - np.arange(h) * 0.9 - 0.1 * horizon), 0, h - 1).astype(int)
    mirrored = cv2.blur(image[rows], (max(1, w // 90), max(3, h // 10)))
    share = np.where(road, 0.34, 0)[..., None].astype(np.float32)
    return image * (1 - 0.12 * road[..., None]) * (1 - share) + mirrored * share


def _photograph(image: np.ndarray, rng: Rng, light: Light) -> np.ndarray:
    """Exposure, contrast, vignette, blur of the lens, noise of the sensor; float BGR to uint8."""
    h, w = image.shape[:2]
    across, down = np.linspace(-1, 1, w, dtype=np.float32), np.linspace(-1, 1, h, dtype=np.float32)[:, None]
    vignette = 1 - between(rng, 0.03, 0.13) * (across**2 + down**2)
    image *= (vignette * between(rng, 0.9, 1.1))[..., None]
    contrast = between(rng, 0.94, 1.14)
    balance = np.float32([between(rng, 0.97, 1.03) for _ in range(3)])
    image = image * (contrast * balance) + 112 * (1 - contrast) * balance
    blur = between(rng, 0, 0.55) * h / 128
    if blur > 0.25:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    noise = between(rng, 1, 3.2) * (1.7 if light.lamps_on else 1)
    grain = rng.standard_normal((h, w, 1), dtype=np.float32) + 0.5 * rng.standard_normal((h, w, 3), dtype=np.float32)
    return np.clip(image + noise * grain + 0.5, 0, 255).astype(np.uint8)
