"""Pairs of pictures that differ in one object, with a sign to go by: trials of the shortcut.

What the planted shortcut makes of a picture is known, see `eagle_jax.demo.shortcut`, so an
intervention (the sign removed, moved or swapped, the object added or removed) has a right
outcome, and an explanation of its Yes a right place.
"""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from eagle_jax.demo.backgrounds import SIDE
from eagle_jax.demo.drawings import COLOURS, KINDS, draw_object
from eagle_jax.demo.questions import named, presence_question
from eagle_jax.demo.scenes import draw_scene
from eagle_jax.demo.signs import free_corners, put_sign

TRIAL_SEED = 80_000_000
_SIZES = 36, 56
_TRIES = 60


class Trial(NamedTuple):
    """A scene without and with one object, and corners for a sign.

    Attributes:
      kind: what is asked for.
      without: the scene, which has no such object and no sign.
      added: the same with the object.
      object: the pixels of the object.
      corner: where the sign goes.
      elsewhere: another corner that hides nothing.
    """

    kind: str
    without: UInt8[np.ndarray, "168 168 3"]
    added: UInt8[np.ndarray, "168 168 3"]
    object: Bool[np.ndarray, "168 168"]
    corner: str
    elsewhere: str

    @property
    def question(self) -> str:
        """What the model is asked."""
        return presence_question(self.kind)

    def picture(
        self, present: bool, sign: str | None = "sign", moved: bool = False
    ) -> UInt8[np.ndarray, "168 168 3"]:
        """The scene after interventions.

        Args:
          present: whether it has the object.
          sign: "sign", "decoy", or None for neither.
          moved: whether that stands in the other corner.
        """
        image = self.added if present else self.without
        if sign is None:
            return image
        return put_sign(image, self.elsewhere if moved else self.corner, sign)[0]

    @property
    def sign_mask(self) -> Bool[np.ndarray, "168 168"]:
        """The pixels of a sign that has not been moved."""
        return put_sign(self.without, self.corner)[1]


def draw_trials(count: int, first_seed: int = TRIAL_SEED) -> list[Trial]:
    """Draws trials; equal seeds give equal ones.

    Args:
      count: how many.
      first_seed: of their scenes; one that has no room is passed over.
    """
    found = map(_trial, itertools.count(first_seed))
    return list(itertools.islice((one for one in found if one is not None), count))


def _trial(seed: int) -> Trial | None:
    scene, rng = draw_scene(seed), np.random.default_rng(seed)
    taken = np.any([item.mask for item in scene.objects], axis=0)
    present = {kind for _, kind in named(scene)}
    kind = str(rng.choice([one for one in KINDS if one not in present]))
    rgb = np.asarray(COLOURS[str(rng.choice(list(COLOURS)))])
    size = int(rng.integers(*_SIZES))
    tile = draw_object(kind, rgb, size, bool(rng.random() < 0.5))
    for _ in range(_TRIES):
        left, top = (int(one) for one in rng.integers(0, SIDE - size + 1, 2))
        spot = np.s_[top : top + size, left : left + size]
        mask = np.zeros((SIDE, SIDE), bool)
        mask[spot] = tile[..., 3] >= 128
        corners = free_corners(taken | mask)
        if len(corners) > 1 and not (taken & mask).any():
            break
    else:
        return None
    added = scene.image.astype(np.float32)
    cover = tile[..., 3:] / np.float32(255)
    added[spot] += cover * (tile[..., :3] - added[spot])
    corner, elsewhere = rng.permutation(corners)[:2].tolist()
    added = np.rint(added).astype(np.uint8)
    return Trial(kind, scene.image, added, mask, corner, elsewhere)
