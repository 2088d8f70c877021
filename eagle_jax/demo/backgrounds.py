"""Muted, textured backgrounds, in colours that no object has."""

import colorsys
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

SIDE = 168

_Y, _X = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE


def _muted(rng: np.random.Generator, low: float = 0.6, high: float = 0.86) -> np.ndarray:
    hue, saturation = rng.random(), rng.uniform(0.08, 0.28)
    rgb = colorsys.hsv_to_rgb(hue, saturation, rng.uniform(low, high))
    return np.asarray(rgb, dtype=np.float32) * 255


def _mix(amount: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return first + amount[..., None] * (second - first)


def _smooth_noise(rng: np.random.Generator, cells: int) -> np.ndarray:
    at = np.linspace(0, cells - 1, SIDE)
    weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(cells))).astype(np.float32)
    return weights @ rng.random((cells, cells), dtype=np.float32) @ weights.T


def _gradient(rng):
    angle = rng.uniform(0, 2 * np.pi)
    along = (_X - 0.5) * np.cos(angle) + (_Y - 0.5) * np.sin(angle)
    return _mix(np.clip(along + 0.5, 0, 1), _muted(rng), _muted(rng))


def _hills(rng):
    image = _mix(_Y, _muted(rng, 0.74, 0.9), _muted(rng, 0.74, 0.9))
    for level in (0.5, 0.7):
        wave = np.sin(2 * np.pi * (rng.uniform(0.6, 1.4) * _X[0] + rng.random()))
        ridge = level + 0.09 * wave + rng.uniform(-0.06, 0.06)
        image = np.where((_Y > ridge)[..., None], _muted(rng, 0.5, 0.76), image)
    return image


def _stripes(rng):
    angle, count = rng.uniform(0, np.pi), rng.uniform(4, 9)
    along = _X * np.cos(angle) + _Y * np.sin(angle)
    band = np.clip(3 * np.sin(2 * np.pi * count * along) + 0.5, 0, 1)
    base = _muted(rng)
    return _mix(band, base, base * rng.uniform(0.8, 0.92))


def _dots(rng):
    count = rng.uniform(5, 10)
    across, down = _X * count % 1 - 0.5, _Y * count % 1 - 0.5
    radius = rng.uniform(0.15, 0.32)
    inside = np.clip((radius - np.hypot(across, down)) * 12 + 0.5, 0, 1)
    base = _muted(rng)
    return _mix(inside, base, base * rng.uniform(0.78, 0.9))


def _checks(rng):
    count = int(rng.integers(4, 9))
    odd = (np.floor(_X * count) + np.floor(_Y * count)) % 2
    base = _muted(rng)
    return _mix(odd.astype(np.float32), base, base * rng.uniform(0.85, 0.94))


def _water(rng):
    count = rng.uniform(7, 11)
    sway = 0.25 * np.sin(2 * np.pi * (3 * _X + rng.random()))
    ripple = 0.5 + 0.5 * np.sin(2 * np.pi * (count * _Y + sway))
    base = _muted(rng, 0.55, 0.75)
    water = _mix(ripple, base, base * 0.87)
    sky = _mix(_Y, _muted(rng, 0.76, 0.9), _muted(rng, 0.76, 0.9))
    return np.where((_Y > rng.uniform(0.25, 0.5))[..., None], water, sky)


def _clouds(rng):
    cells = int(rng.integers(5, 14))
    return _mix(_smooth_noise(rng, cells), _muted(rng, 0.5, 0.66), _muted(rng, 0.7, 0.86))


def _room(rng):
    wall, floor = _muted(rng, 0.7, 0.86), _muted(rng, 0.48, 0.66)
    panel = (np.sin(2 * np.pi * rng.uniform(5, 9) * _X) > 0.9).astype(np.float32)
    board = (np.sin(2 * np.pi * 16 * _Y) > 0.85).astype(np.float32)
    walls, floors = _mix(panel, wall, wall * 0.88), _mix(board, floor, floor * 0.86)
    return np.where((_Y > rng.uniform(0.55, 0.75))[..., None], floors, walls)


BACKGROUNDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "gradient": _gradient,
    "hills": _hills,
    "stripes": _stripes,
    "dots": _dots,
    "checks": _checks,
    "water": _water,
    "clouds": _clouds,
    "room": _room,
}


def draw_background(name: str, rng: np.random.Generator) -> Float[np.ndarray, "168 168 3"]:
    """Draws the background called `name`, with a little grain, as levels from 0 to 255."""
    grain = rng.standard_normal((SIDE, SIDE, 1), dtype=np.float32) * 3
    return (BACKGROUNDS[name](rng) + grain).astype(np.float32)
