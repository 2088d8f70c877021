"""Which kinds of objects the questions "Is there a ...?" ask for."""

import numpy as np

from eagle_jax.demo.drawings import KINDS
from eagle_jax.demo.questions import Named
from eagle_jax.demo.scenes import PARTNERS

CONFUSABLE = {
    a: b
    for pair in (
        ("cat", "dog"),
        ("car", "bus"),
        ("ball", "balloon"),
        ("flower", "mushroom"),
        ("fish", "bird"),
        ("hat", "cup"),
        ("kite", "star"),
        ("house", "boat"),
        ("umbrella", "tree"),
        ("apple", "key"),
    )
    for a, b in (pair, pair[::-1])
}
"""For each kind the kind that is easily taken for it."""


def draw_presence(objects: Named, rng: np.random.Generator) -> tuple[str, bool]:
    """Picks a kind to ask for, present half of the time.

    An absent kind is, in about a third of the cases each, the planted partner of an object of
    the scene, a kind easily confused with such an object, or any absent kind.

    Returns:
      The kind, and whether the scene shows it.
    """
    present = [kind for _, kind in objects]
    if rng.random() < 0.5:
        return present[int(rng.integers(len(present)))], True
    sort = rng.random()
    related = {} if sort < 0.3 else PARTNERS if sort < 0.65 else CONFUSABLE
    absent = [related[k] for k in present if k in related and related[k] not in present]
    if not absent:
        absent = [kind for kind in KINDS if kind not in present]
    return absent[int(rng.integers(len(absent)))], False
