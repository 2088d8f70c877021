"""The exact greedy search: at each step, the region that raises F most."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int32
from tqdm import tqdm

from eagle_jax.search.lockstep import Lockstep


class Found(NamedTuple):
    """What a search returns.

    Attributes:
      order: the regions, most important first.
      insertion: row k holds the target probabilities with the first k regions visible.
      deletion: row k holds them with the first k regions removed.
      forwards: number of masked images scored.
    """

    order: Int32[np.ndarray, " n"]
    insertion: Float32[np.ndarray, "rows t"]
    deletion: Float32[np.ndarray, "rows t"]
    forwards: int


def greedy(
    scorer: Callable[..., Any],
    insight_weight: float = 1.0,
    necessity_weight: float = 1.0,
    progress: bool = False,
) -> Found:
    """Orders all regions by the exact greedy search, n (n + 1) forwards for n regions.

    Step k adds the region r that maximises the mean over target tokens of
    ``insight_weight * p(S + r) + necessity_weight * (1 - p(V - S - r))``, where S are the
    regions taken before and V all of them; among equals the lowest number wins.

    Args:
      scorer: maps Bool[b, n] visible regions to Float32[b, t] probabilities and has the
        number of regions as ``regions``: `eagle_jax.scorer(...)` or any callable like it.
      insight_weight: lambda 1, of what the chosen regions suffice for.
      necessity_weight: lambda 2, of what is lost without them.
      progress: show a progress bar.

    Returns:
      The order and both curves.

    References:
      EAGLE, arXiv 2509.22496, section 3.2.
    """
    step = getattr(scorer, "step", None) or functools.partial(_plain_step, scorer)

    def steps(chosen, *weights):
        return [step(chosen[0], *weights)]

    n = scorer.regions
    with tqdm(total=n * (n + 1), unit="forward", desc="search", disable=not progress) as bar:
        return _search([n], steps, (insight_weight, necessity_weight), bar.update)[0]


def greedy_lockstep(
    lockstep: Lockstep,
    insight_weight: float = 1.0,
    necessity_weight: float = 1.0,
    report: Callable[[int], Any] = lambda forwards: None,
) -> list[Found]:
    """The exact greedy search of several images at once; each finds what it finds alone.

    Args:
      lockstep: the images and what is asked about them.
      insight_weight: lambda 1, of what the chosen regions suffice for.
      necessity_weight: lambda 2, of what is lost without them.
      report: called after each step with the number of masked images it scored.

    Returns:
      What `greedy` returns, for each image.
    """
    regions = [scorer.regions for scorer in lockstep.scorers]
    return _search(regions, lockstep.step, (insight_weight, necessity_weight), report)


def _search(regions, steps, weights, report) -> list[Found]:
    chosen = [np.zeros(n, bool) for n in regions]
    order, insertion, deletion = ([[] for _ in regions] for _ in range(3))
    for _ in range(max(regions)):
        found = steps(chosen, *weights)
        scored = 0
        for image, step in enumerate(found):
            if step is None:
                continue
            scored += 2 * int(np.sum(~chosen[image]))
            region, inserted, removed = step
            chosen[image][region] = True
            order[image].append(region)
            insertion[image].append(inserted)
            deletion[image].append(removed)
        report(scored)
    return [_found(*curves) for curves in zip(order, insertion, deletion, strict=True)]


def _found(order, insertion, deletion) -> Found:
    # The last insertion shows the full image and the last deletion the blank one.
    return Found(
        order=np.array(order, np.int32),
        insertion=np.stack([deletion[-1], *insertion]).astype(np.float32),
        deletion=np.stack([insertion[-1], *deletion]).astype(np.float32),
        forwards=len(order) * (len(order) + 1),
    )


def _plain_step(scorer, chosen, insight_weight, necessity_weight):
    candidates = np.flatnonzero(~chosen)
    inserted = chosen | (np.arange(len(chosen)) == candidates[:, None])
    scores = np.asarray(scorer(np.concatenate([inserted, ~inserted])), np.float32)
    shown, removed = np.split(scores, 2)
    gain = insight_weight * shown + necessity_weight * (1.0 - removed)
    best = int(np.argmax(gain.mean(axis=1)))
    return int(candidates[best]), shown[best], removed[best]
