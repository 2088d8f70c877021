"""Results of runs, made up from what an explanation of the kind would look like."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from made_attributions import made_attribution

from eagle_jax.lists import Item
from eagle_jax.results.run_folder import ItemResult, write_result
from eagle_jax.search.controls import control_orders
from eagle_jax.search.sets import curves_along

CAPTION = ("The", " red", " kite", " flies", " over", " two", " trees", ".", "<|im_end|>")
# How much of each token's probability the image decides.
SEEN = np.array([0.02, 0.9, 0.8, 0.3, 0.1, 0.7, 0.6, 0.05, 0.01])
ANSWER = ("Yes", ",", " there", " is", ".", "<|im_end|>")


def made_result(
    name="kite-0",
    kind="sentence",
    seed=0,
    place="line 1",
    prompt="Describe the image.",
    strength=1.0,
    order=None,
    answers=None,
    label="No",
    mask=True,
    controls=0,
) -> ItemResult:
    """A result on a 4 x 6 grid of an image of 40 x 60 pixels whose object is in a corner."""
    rng = np.random.default_rng(seed)
    rows, columns = np.arange(40)[:, None] * 4 // 40, np.arange(60)[None] * 6 // 60
    labels = (rows * 6 + columns).astype(np.int32)
    n = 24
    tokens = ANSWER if kind == "presence" else CAPTION
    target = {"sentence": np.arange(len(tokens)), "word": np.array([2])}.get(
        kind, np.array([0])
    )
    scored = ["No"] if kind == "presence" else None
    seen = (SEEN if kind != "presence" else np.full(len(tokens), 0.7))[target]
    # Regions 0, 1, 6 and 7, the top left corner, hold the evidence.
    weight = np.full(n, 0.01) + rng.random(n) * 0.01
    weight[[0, 1, 6, 7]] += strength * np.array([0.4, 0.3, 0.2, 0.1])
    weight /= weight.sum()

    def scorer(visible):
        shown = (visible * weight).sum(axis=1)[:, None]
        return (0.98 - seen + seen * shown).astype(np.float32)

    order = np.argsort(-weight, kind="stable").astype(np.int32) if order is None else order
    curves = curves_along(scorer, order)
    attribution = made_attribution(
        labels.shape,
        answer=tokens,
        positions=target,
        scored=scored,
        **curves._asdict(),
        image=None,
        labels=labels,
        prompt=prompt,
        model="made up",
    )
    where = np.zeros((40, 60), bool)
    where[:20, :20] = True
    named = {} if controls == 0 else control_orders(labels, order, controls, name)
    item = Item(
        name=name,
        place=place,
        image=Path("kite.png"),
        prompt=prompt,
        label=label if kind == "presence" else None,
        boxes=((0, 0, 20, 20),) if mask and kind != "presence" else (),
    )
    return ItemResult(
        item=item,
        attribution=attribution,
        mask=where if mask and kind != "presence" else None,
        answers=answers,
        controls={one: curves_along(scorer, o) for one, o in named.items()} or None,
    )


def corrected_from(k: int | None) -> tuple[str, ...]:
    """Answers to a question whose right one is No: right with at most k regions visible."""
    return tuple("No." if k is not None and i <= k else "Yes, it is." for i in range(25))


def write_run(out: Path, results: Iterable[ItemResult]) -> Path:
    """Writes results as a run."""
    for result in results:
        write_result(out, result)
    return out
