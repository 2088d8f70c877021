"""Images with parts blacked out, as an attribution shows them to the model.

A model that has never seen black regions answers at random where there are some, and its
explanations say more about that than about the image. Half of the training images therefore
have some irregular cells blackened, and the answers are about what is left.
"""

import functools

import numpy as np
from jaxtyping import Bool, Float, UInt8

_SIDE, _PATCH, _MERGE = 168, 14, 2
_MAPS = 128
# Fraction of the images with blackout that are black altogether.
_ALL_BLACK = 0.1


def draw_blackout(rng: np.random.Generator) -> Bool[np.ndarray, "168 168"]:
    """The pixels that stay visible: a random fraction of the cells of a random division."""
    cells = _divisions()[rng.integers(_MAPS)]
    cells = cells[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    fraction = 0.0 if rng.random() < _ALL_BLACK else rng.random()
    return (rng.random(int(cells.max()) + 1) < fraction)[cells]


def visible_fractions(visible: Bool[np.ndarray, "168 168"]) -> Float[np.ndarray, " 144"]:
    """Visible fraction of each patch, in the order of the image processor."""
    side = _SIDE // _PATCH
    fractions = visible.reshape(side, _PATCH, side, _PATCH).mean(axis=(1, 3))
    blocks = fractions.reshape(side // _MERGE, _MERGE, side // _MERGE, _MERGE)
    return blocks.transpose(0, 2, 1, 3).ravel()


@functools.lru_cache(maxsize=1)
def _divisions() -> UInt8[np.ndarray, "maps 168 168"]:
    """Divisions of the image into cells around random points."""
    rng = np.random.default_rng(0)
    row, column = np.mgrid[:_SIDE, :_SIDE].astype(np.float32)
    maps = []
    for _ in range(_MAPS):
        points = rng.uniform(0, _SIDE, (int(rng.integers(12, 80)), 2)).astype(np.float32)
        near = [(row - y) ** 2 + (column - x) ** 2 for y, x in points]
        maps.append(np.argmin(near, axis=0).astype(np.uint8))
    return np.stack(maps)
