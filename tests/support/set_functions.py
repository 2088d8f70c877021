"""Set functions that are no model: cheap, seeded, and of any number of regions."""

import numpy as np


class SetFunction:
    """A scorer that counts what it is asked and refuses to score a set twice in one call.

    Attributes:
        regions: Number of regions.
        calls: Number of sets of each call.
    """

    def __init__(self, regions, function):
        self.regions = regions
        self.calls = []
        self._function = function

    def __call__(self, visible):
        assert visible.dtype == bool and visible.shape[1] == self.regions
        # Of two regions each is the other's complement.
        once = self.regions == 2 or len(np.unique(visible, axis=0)) == len(visible)
        assert once, "a set is scored twice"
        self.calls.append(len(visible))
        return self._function(visible).astype(np.float32)


def smooth(regions, seed=0, targets=2) -> SetFunction:
    """Logits with main effects and pairwise interactions; no two sets alike."""
    rng = np.random.default_rng(seed)
    alone = rng.normal(size=(regions, targets))
    pairs = 0.3 * rng.normal(size=(targets, regions, regions))
    scale = 2 / np.sqrt(regions)

    def score(visible):
        x = visible.astype(np.float64)
        logits = x @ alone + np.einsum("bi,tij,bj->bt", x, pairs, x)
        return 1 / (1 + np.exp(-scale * logits))

    return SetFunction(regions, score)


def constant(regions, value=0.5) -> SetFunction:
    """The same for every set: all regions are equal."""
    return SetFunction(regions, lambda visible: np.full((len(visible), 1), value))


def majority(regions, seed=0) -> SetFunction:
    """Whether the visible regions have more than half of the weight."""
    weight = np.random.default_rng(seed).random(regions)
    return SetFunction(
        regions, lambda visible: (visible @ weight > weight.sum() / 2)[:, None] * 0.9 + 0.05
    )


def conjunction(regions, seed=0) -> SetFunction:
    """Whether all of a few regions are visible."""
    chosen = _some(regions, seed)
    return SetFunction(regions, lambda visible: visible[:, chosen].all(1, keepdims=True) * 1.0)


def disjunction(regions, seed=0) -> SetFunction:
    """Whether any of a few regions is visible."""
    chosen = _some(regions, seed)
    return SetFunction(regions, lambda visible: visible[:, chosen].any(1, keepdims=True) * 1.0)


def coverage(regions, seed=0) -> SetFunction:
    """The share of weighted points that the visible regions cover: submodular."""
    rng = np.random.default_rng(seed)
    covers = rng.random((regions, 40)) < 0.15
    weight = rng.random(40)

    def score(visible):
        covered = (visible[:, :, None] & covers[None]).any(1)
        return (covered @ weight / weight.sum())[:, None]

    return SetFunction(regions, score)


def _some(regions, seed):
    rng = np.random.default_rng(seed)
    return rng.choice(regions, min(3, regions), replace=False)
