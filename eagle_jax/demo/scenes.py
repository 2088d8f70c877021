"""Storybook scenes with exact object masks: the world the demo model lives in.

Kinds are distinct within a scene, so "What colour is the car?" has one answer. Some pairs
of kinds are planted: a scene with an object of the first kind usually has its partner as well
(`PARTNER_RATE`), a prior that a model can learn and then follow where the evidence is weak.
About every third scene has a weak object: faint, small, hidden by another object, cut off by
an edge, or several of these at once; and some scenes have a faint smudge that is no object.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, UInt8

from eagle_jax.demo.backgrounds import BACKGROUNDS, SIDE, draw_background
from eagle_jax.demo.drawings import COLOURS, KINDS, draw_object

PLANTED_PAIRS = (
    ("boat", "fish"),
    ("tree", "bird"),
    ("dog", "ball"),
    ("cup", "apple"),
    ("house", "flower"),
)
PARTNERS = {a: b for pair in PLANTED_PAIRS for a, b in (pair, pair[::-1])}
PARTNER_RATE = 0.85


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene.

    Attributes:
      kind: one of `KINDS`.
      colour: one of `COLOURS`.
      box: x0, y0, x1, y1 of its visible pixels, ends excluded.
      mask: its visible pixels.
      faint: True if it is drawn half transparent.
      hidden: True if another object or the image's edge hides a good part of it.
      small: True if it is drawn smaller than other objects.
    """

    kind: str
    colour: str
    box: tuple[int, int, int, int]
    mask: Bool[np.ndarray, "168 168"]
    faint: bool
    hidden: bool
    small: bool


@dataclass(frozen=True)
class Scene:
    """A drawn scene; `objects` run from left to right by the centre of their boxes."""

    seed: int
    background: str
    image: UInt8[np.ndarray, "168 168 3"]
    objects: tuple[SceneObject, ...]


@dataclass(frozen=True)
class _Sketch:
    kind: str
    colour: str
    size: int
    alpha: float
    place: str  # "clear", "behind" another object, or cut by an "edge"


def draw_scene(seed: int) -> Scene:
    """Draws the scene that belongs to `seed`: the same image and masks every time."""
    for attempt in itertools.count():
        scene = _attempt(seed, np.random.default_rng((seed, attempt)))
        if scene is not None:
            return scene
    raise AssertionError("unreachable")


def _attempt(seed: int, rng: np.random.Generator) -> Scene | None:
    background = str(rng.choice(list(BACKGROUNDS)))
    canvas = draw_background(background, rng)
    if rng.random() < 0.25:
        _smudge(canvas, rng)
    sketches = _sketches(rng)
    corners = _place(sketches, rng)
    if corners is None:
        return None
    owner = np.full((SIDE, SIDE), -1)
    whole = []
    for index, (sketch, (left, top)) in enumerate(zip(sketches, corners, strict=True)):
        rgb = np.clip(np.asarray(COLOURS[sketch.colour]) + rng.integers(-9, 10, 3), 0, 255)
        tile = draw_object(sketch.kind, rgb, sketch.size, bool(rng.random() < 0.5))
        x0, y0 = max(left, 0), max(top, 0)
        part = tile[y0 - top : SIDE - top, x0 - left : SIDE - left]
        spot = np.s_[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]]
        cover = part[..., 3:].astype(np.float32) * (sketch.alpha / 255)
        canvas[spot] += cover * (part[..., :3] - canvas[spot])
        owner[spot][part[..., 3] >= 128] = index
        whole.append(np.count_nonzero(tile[..., 3] >= 128))
    objects = []
    for index, sketch in enumerate(sketches):
        mask = owner == index
        visible = np.count_nonzero(mask)
        if visible < 60 or visible < 0.28 * whole[index]:
            return None
        ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        objects.append(
            SceneObject(
                kind=sketch.kind,
                colour=sketch.colour,
                box=(int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1),
                mask=mask,
                faint=sketch.alpha < 1,
                hidden=bool(visible < 0.8 * whole[index]),
                small=sketch.size < 28,
            )
        )
    objects.sort(key=lambda item: item.box[0] + item.box[2])
    image = np.rint(np.clip(canvas, 0, 255)).astype(np.uint8)
    return Scene(seed=seed, background=background, image=image, objects=tuple(objects))


def _smudge(canvas: np.ndarray, rng: np.random.Generator) -> None:
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    centre_x, centre_y = rng.uniform(20, 148, 2)
    wide, high = rng.uniform(8, 16, 2)
    inside = ((x - centre_x) / wide) ** 2 + ((y - centre_y) / high) ** 2
    cover = np.clip(2 - 2 * inside, 0, 1)[..., None] * rng.uniform(0.12, 0.35)
    rgb = np.asarray(COLOURS[str(rng.choice(list(COLOURS)))], dtype=np.float32)
    canvas += cover * (rgb - canvas)


def _sketches(rng: np.random.Generator) -> list[_Sketch]:
    count = int(rng.choice([1, 2, 3, 4], p=[0.15, 0.3, 0.3, 0.25]))
    kinds: list[str] = []
    barred: set[str] = set()
    invited = None
    while len(kinds) < count:
        free = [kind for kind in KINDS if kind not in kinds and kind not in barred]
        if len(kinds) == 3:  # no space for a planted partner
            free = [kind for kind in free if kind not in PARTNERS]
        kind = str(rng.choice(free))
        kinds.append(kind)
        partner = PARTNERS.get(kind)
        if partner is not None:
            barred.add(partner)
            if rng.random() < PARTNER_RATE:
                kinds.append(partner)
                invited = partner
    colours = rng.choice(list(COLOURS), size=len(kinds))
    sizes = rng.integers(34, 65, size=len(kinds))
    sketches = [
        _Sketch(k, str(c), int(s), 1.0, "clear")
        for k, c, s in zip(kinds, colours, sizes, strict=True)
    ]
    if rng.random() < 0.32:
        sketches = _weaken(sketches, invited, rng)
    return sketches


def _weaken(
    sketches: list[_Sketch], invited: str | None, rng: np.random.Generator
) -> list[_Sketch]:
    # The weak object comes first in the list: what is drawn later can hide it.
    index = int(rng.integers(len(sketches)))
    if invited is not None and rng.random() < 0.5:
        index = [sketch.kind for sketch in sketches].index(invited)
    weak = sketches.pop(index)
    sort = str(rng.choice(["faint", "small", "hidden", "all"], p=[0.28, 0.26, 0.26, 0.2]))
    small = int(rng.integers(20, 28)) if sort in ("small", "all") else weak.size
    alpha = {"faint": rng.uniform(0.3, 0.6), "all": rng.uniform(0.12, 0.4)}.get(sort, 1.0)
    place = "clear"
    if sort == "hidden" or (sort == "all" and rng.random() < 0.5):
        place = "behind" if sketches and rng.random() < 0.65 else "edge"
    return [replace(weak, size=small, alpha=float(alpha), place=place), *sketches]


def _place(sketches: list[_Sketch], rng: np.random.Generator) -> list[tuple[int, int]] | None:
    corners: list[tuple[int, int]] = []
    for index, sketch in enumerate(sketches):
        for _ in range(40):
            left, top = (int(value) for value in rng.integers(0, SIDE - sketch.size + 1, 2))
            if sketch.place == "edge":
                cut = int(rng.uniform(0.25, 0.5) * sketch.size)
                side = rng.integers(4)
                left = (-cut, SIDE - sketch.size + cut, left, left)[side]
                top = (top, top, -cut, SIDE - sketch.size + cut)[side]
            covers = index == 1 and sketches[0].place == "behind"
            if covers:
                gap = 0.5 * (sketch.size + sketches[0].size) * rng.uniform(0.35, 0.7)
                angle = rng.uniform(0, 2 * np.pi)
                half = (sketches[0].size - sketch.size) / 2
                across = corners[0][0] + half + gap * np.cos(angle)
                down = corners[0][1] + half + gap * np.sin(angle)
                left, top = (int(np.clip(a, 0, SIDE - sketch.size)) for a in (across, down))
            if _fits(sketch, left, top, sketches, corners, covers):
                corners.append((left, top))
                break
        else:
            return None
    return corners


def _fits(sketch, left, top, sketches, corners, covers) -> bool:
    for index, (other, (x, y)) in enumerate(zip(sketches, corners, strict=False)):
        # Left to right must be a matter of looking, not of pixels.
        if abs((left + sketch.size / 2) - (x + other.size / 2)) < 9:
            return False
        wide = min(left + sketch.size, x + other.size) - max(left, x)
        high = min(top + sketch.size, y + other.size) - max(top, y)
        shared = max(wide, 0) * max(high, 0)
        if not (covers and index == 0) and shared > 0.08 * min(sketch.size, other.size) ** 2:
            return False
    return True
