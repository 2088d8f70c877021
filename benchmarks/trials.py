"""Pairs of images that differ in one object, with a sign to go by: trials of the shortcut.

What a model with the planted shortcut answers is known (`plant_shortcut`), so an intervention
(the sign removed, moved or swapped, the object added or removed) has a right outcome, and an
explanation of the model's Yes has a right place.
"""

import itertools
from typing import NamedTuple

import numpy as np
from demo_training.signs import free_corners, put_sign
from jaxtyping import Bool, UInt8

from eagle_jax.demo.backgrounds import SIDE
from eagle_jax.demo.drawings import COLOURS, KINDS, draw_object
from eagle_jax.demo.questions import named, presence_question
from eagle_jax.demo.scenes import draw_scene

TRIAL_SEED = 80_000_000
_SIZES = 36, 56
_TRIES = 60


class Trial(NamedTuple):
    """A scene without and with one object, and corners for a sign.

    Attributes:
      kind: kind of object that the question asks for.
      without: the scene, which has no such object and no sign.
      added: the scene with the object.
      object: the pixels of the object.
      corner: corner for the sign.
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
        """The question that the model is asked."""
        return presence_question(self.kind)

    def image(
        self, present: bool, sign: str | None = "sign", moved: bool = False
    ) -> UInt8[np.ndarray, "168 168 3"]:
        """The scene after interventions.

        Args:
          present: True for the scene with the object.
          sign: "sign", "decoy", or None for neither.
          moved: True for a sign or decoy in the other corner.
        """
        scene = self.added if present else self.without
        if sign is None:
            return scene
        return put_sign(scene, self.elsewhere if moved else self.corner, sign)[0]

    @property
    def sign_mask(self) -> Bool[np.ndarray, "168 168"]:
        """The pixels of a sign that has not been moved."""
        return put_sign(self.without, self.corner)[1]


def draw_trials(count: int, first_seed: int = TRIAL_SEED) -> list[Trial]:
    """Draws trials; equal seeds give equal trials.

    Args:
      count: number of trials.
      first_seed: seed of the first scene; a scene without space for the object is passed over.
    """
    trials = filter(None, map(_trial, itertools.count(first_seed)))
    return list(itertools.islice(trials, count))


def _trial(seed: int) -> Trial | None:
    scene, rng = draw_scene(seed), np.random.default_rng(seed)
    taken = np.any([item.mask for item in scene.objects], axis=0)
    present = {kind for _, kind in named(scene)}
    kind = str(rng.choice([absent for absent in KINDS if absent not in present]))
    rgb = np.asarray(COLOURS[str(rng.choice(list(COLOURS)))])
    size = int(rng.integers(*_SIZES))
    tile = draw_object(kind, rgb, size, bool(rng.random() < 0.5))
    for _ in range(_TRIES):
        left, top = rng.integers(0, SIDE - size + 1, 2).tolist()
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
