"""What a long search costs, said before it begins."""

import dataclasses
import math
import os
import sys
import time

import jax
import numpy as np

from eagle_jax.baselines.methods import chosen_method
from eagle_jax.explaining.ranking import FURTHER_FORWARDS, Approach
from eagle_jax.inputs.pixel_budget import PixelBudget
from eagle_jax.planning.flops import forward_flops
from eagle_jax.scoring.case import Case
from eagle_jax.search.methods import chosen_search, usual_forwards

# Seconds from which on a search is long.
_LONG = 60.0
# Operations per second that even a slow device reaches: each core of a CPU, or an accelerator.
# Searches that are short at this rate are not timed.
_CORE, _ACCELERATOR = 5e9, 1e13
# Numbers of visual tokens to propose: Qwen's own default, and one for slow machines.
_FEWER_TOKENS = (1280, 256)


def announce_cost(case: Case, approach: Approach) -> None:
    """Says on standard error what a search will cost, if it will take more than a minute.

    Only a search that may be long is timed: two batches are scored for it. The number of
    forwards and the time are estimates.

    Args:
      case: the case to be explained.
      approach: the method and its settings; methods other than EAGLE, and searches with a
        time limit, are not announced.
    """
    if not chosen_method(approach.method).searches or approach.limits.seconds is not None:
        return
    scorer, plan = case.scorer, case.question.plan
    config, rows = scorer.network.config, np.asarray(case.question.rows)
    forwards = _forwards(approach, scorer.regions)
    operations = forward_flops(config, plan.grid, rows)
    if forwards * operations < _LONG * _slow_rate():
        return
    seconds = forwards * _seconds_per_forward(case)
    if seconds <= _LONG:
        return
    hint = "--seconds S stops it after S seconds with a partial result"
    if proposed := _fewer_pixels(case):
        pixels, grid = proposed
        fewer = plan.tokens - math.prod(grid) // plan.merge_size**2
        share = forward_flops(config, grid, np.maximum(rows - fewer, 0)) / operations
        hint = f"--max-pixels {pixels} takes about {_duration(seconds * share)}"
    print(
        f"about {plan.tokens:,} visual tokens per masked image, {forwards:,} forwards, about "
        f"{_duration(seconds)} on this machine; {hint}",
        file=sys.stderr,
    )


def _forwards(approach: Approach, regions: int) -> int:
    name, _ = chosen_search(approach.search)
    steps = min(approach.limits.top_k or regions, regions)
    forwards = steps * (2 * regions - steps + 1)
    if name == "bidirectional":
        forwards //= 3
    elif name != "exact":
        forwards = usual_forwards(regions)
    partitions = approach.partitions
    further = partitions - 1 if isinstance(partitions, int) else len(partitions)
    forwards += FURTHER_FORWARDS * regions * further
    return min(forwards, approach.limits.budget or forwards)


def _slow_rate() -> float:
    if jax.default_backend() == "cpu":
        return _CORE * (os.cpu_count() or 1)
    return _ACCELERATOR * jax.local_device_count()


def _seconds_per_forward(case: Case) -> float:
    whole = np.ones((1, case.scorer.regions), bool)
    case.scorer(whole)  # compiles the program that the search will use
    begin = time.perf_counter()
    case.scorer(whole)
    return (time.perf_counter() - begin) / case.scorer.batch_size


def _fewer_pixels(case: Case) -> tuple[int, tuple[int, int]] | None:
    """A smaller bound of the image's pixels, and the grid of patches that it gives."""
    settings, plan = case.model.image_settings, case.question.plan
    if not isinstance(settings, PixelBudget):
        return None
    for tokens in _FEWER_TOKENS:
        pixels = max(
            tokens * (settings.patch_size * settings.merge_size) ** 2, settings.min_pixels
        )
        if tokens <= plan.tokens // 2 and pixels <= settings.max_pixels:
            bounded = dataclasses.replace(settings, max_pixels=pixels)
            return pixels, bounded.grid(bounded.frames(*case.image.shape[:2]))
    return None


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
