"""Weather and time of day: the sky, the light on every face, and the camera's sensor."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import cv2
import numpy as np

Color = tuple[float, float, float]  # blue, green, red, from 0 to 255
Rng = np.random.Generator


@dataclass(frozen=True)
class Light:
    """Light of a scene.

    Attributes:
        top: color of the sky at the top of the image.
        low: color of the sky at the horizon, and of the haze.
        ambient: share of the light that comes from everywhere; the rest comes from the sun.
        sun: (3,) direction to the sun.
        haze: what is lost per meter.
        clouds: how much of the sky they cover.
        gain: brightness of what is lit.
        is_dark: whether lamps are on.
    """

    top: Color
    low: Color
    ambient: float
    sun: np.ndarray
    haze: float
    clouds: float
    gain: Color
    is_dark: bool

    def shade(self, normal: np.ndarray) -> float:
        """Return the share of the light that a face with this normal receives."""
        facing = float(normal @ self.sun) / max(float(np.linalg.norm(normal)), 1e-9)
        return self.ambient + (1 - self.ambient) * max(0.0, facing)

    def lit(self, color: Color, depth: float, shade: float = 1.0) -> Color:
        """Return a color as it is seen from ``depth`` meters away; one brighter than 255 is a lamp."""
        if max(color) > 255:
            return tuple(min(channel, 255.0) for channel in color)
        through = math.exp(-self.haze * depth)
        both = zip(color, self.gain, self.low, strict=True)
        return tuple(min(250.0, c * gain * shade * through + low * (1 - through)) for c, gain, low in both)


# name: top and low of the sky (red, green, blue), ambient, height of the sun, haze, clouds, gain (red, green, blue)
WEATHER = {
    'clear': ((64, 128, 214), (190, 214, 236), 0.55, 0.8, 0.004, 0.25, (1.0, 0.99, 0.94)),
    'cloudy': ((120, 150, 185), (205, 212, 218), 0.8, 0.8, 0.007, 0.75, (0.93, 0.95, 0.97)),
    'overcast': ((172, 180, 188), (214, 217, 219), 0.92, 0.9, 0.012, 0.3, (0.86, 0.87, 0.88)),
    'fog': ((196, 201, 205), (212, 215, 217), 0.95, 0.9, 0.03, 0.0, (0.9, 0.9, 0.9)),
    'dusk': ((84, 92, 150), (246, 178, 122), 0.6, 0.25, 0.007, 0.45, (0.86, 0.7, 0.62)),
    'night': ((14, 18, 38), (52, 52, 74), 0.9, 0.9, 0.006, 0.2, (0.36, 0.37, 0.46)),
}
CHANCES = (0.28, 0.22, 0.18, 0.1, 0.14, 0.08)


def draw_light(rng: Rng) -> Light:
    """Draw the weather and vary its colors."""
    name = str(rng.choice(list(WEATHER), p=CHANCES))
    top, low, ambient, height, haze, clouds, gain = WEATHER[name]
    around = rng.uniform(0, 2 * np.pi)
    sun = np.array([np.sin(around), height, np.cos(around)])
    vary = rng.normal(0, 5, 3)
    return Light(
        top=tuple(np.clip(top[::-1] + vary, 0, 255).tolist()),
        low=tuple(np.clip(low[::-1] + vary / 2, 0, 255).tolist()),
        ambient=ambient,
        sun=sun / np.linalg.norm(sun),
        haze=haze * rng.uniform(0.6, 1.5),
        clouds=clouds * rng.uniform(0.4, 1.2),
        gain=tuple((np.array(gain[::-1]) * rng.uniform(0.9, 1.1)).tolist()),
        is_dark=name == 'night' or (name == 'dusk' and rng.random() < 0.6),
    )


def paint_color(rng: Rng, saturation: tuple[float, float], value: tuple[float, float], hue=(0.0, 1.0)) -> Color:
    """Draw a color by hue, saturation and value, each from 0 to 1."""
    red, green, blue = colorsys.hsv_to_rgb(rng.uniform(*hue) % 1, rng.uniform(*saturation), rng.uniform(*value))
    return 255 * blue, 255 * green, 255 * red


def smooth_noise(rng: Rng, height: int, width: int, size: float) -> np.ndarray:
    """Return (H, W) noise of mean 0 and deviation 1 with blobs of ``size`` pixels and half of that."""
    noise = np.zeros((height, width), np.float32)
    for weight, blob in ((1.0, size), (0.5, size / 2)):
        grid = max(2, round(height / blob) + 1), max(2, round(width / blob) + 1)
        coarse = rng.standard_normal(grid, dtype=np.float32)
        noise += weight * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return (noise - noise.mean()) / (noise.std() + 1e-6)


def sky(rng: Rng, light: Light, height: int, width: int) -> np.ndarray:
    """Return a sky (H, W, 3) of float32, with clouds or with stars."""
    down = (np.linspace(0, 1, height, dtype=np.float32) ** 1.3)[:, None, None]
    image = np.float32(light.top) * (1 - down) + np.float32(light.low) * down
    image = np.repeat(image, width, axis=1)
    blobs = cv2.resize(smooth_noise(rng, height, width // 3, height / 6), (width, height))
    cover = np.clip(blobs * 0.6 + 2 * light.clouds - 0.9, 0, 1)[..., None]
    white = np.float32(light.low) * 0.6 + np.float32([245, 245, 245]) * 0.4 * float(np.mean(light.gain))
    return image + cover * 0.75 * (white - image)


def photograph(rng: Rng, image: np.ndarray) -> np.ndarray:
    """Expose an image (H, W, 3): contrast, white balance, vignette, blur of the lens, noise of the sensor."""
    height, width = image.shape[:2]
    image = image.astype(np.float32)
    across, down = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    vignette = 1 - np.float32(rng.uniform(0.02, 0.12)) * (across**2 + down[:, None] ** 2)
    contrast, balance = np.float32(rng.uniform(0.9, 1.12)), np.float32(rng.uniform(0.96, 1.04, 3))
    image = ((image - 115) * contrast + 115) * balance * vignette[..., None]
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.05, 0.5) * height / 256 + 1e-3)
    image += np.float32(rng.uniform(1, 5)) * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)
