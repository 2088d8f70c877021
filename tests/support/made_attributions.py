"""Attributions made up of random numbers, valid in every field."""

import numpy as np

from eagle_jax.results.attribution import Attribution

SENTENCE = ("A", " red", " car", " near", " a", " house", ".", "<|im_end|>")


def made_attribution(
    shape=(48, 64), n=12, answer=SENTENCE, positions=None, scored=None, seed=0, **fields
) -> Attribution:
    """An attribution of a random picture, cut into connected stripes of a grid.

    Args:
        shape: height and width of the picture.
        n: about so many regions; a divisor of 15 or less keeps them large.
        answer: its tokens as text, the end token last.
        positions: positions that are scored; None for all of them.
        scored: other texts scored there than the answer's own.
        seed: of all random numbers.
        **fields: of the attribution, instead of what is made up here.
    """
    rng = np.random.default_rng(seed)
    height, width = shape
    rows = np.arange(height)[:, None] * 3 // max(height, 3)
    labels = rows * width + np.arange(width)[None] * 5 // max(width, 5)
    if n < labels.size:
        labels = labels % n
    labels = np.unique(labels, return_inverse=True)[1].reshape(shape).astype(np.int32)
    labels = fields.get("labels", labels)
    n = int(labels.max()) + 1
    positions = np.arange(len(answer)) if positions is None else np.array(positions)
    ids = np.arange(10, 10 + len(answer), dtype=np.int32)
    token_ids, tokens = ids[positions], [answer[position] for position in positions]
    if scored is not None:
        token_ids, tokens = np.arange(5, 5 + len(scored), dtype=np.int32), scored
    made = {
        "image": rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        "labels": labels,
        "order": rng.permutation(n).astype(np.int32),
        "insertion": np.sort(rng.random((n + 1, positions.size), dtype=np.float32), axis=0),
        "deletion": -np.sort(-rng.random((n + 1, positions.size), dtype=np.float32), axis=0),
        "prompt": "What is it?",
        "answer": "".join(answer[:-1]) if len(answer) > 1 else answer[0],
        "answer_ids": ids,
        "answer_tokens": tuple(answer),
        "positions": positions.astype(np.int32),
        "token_ids": token_ids,
        "tokens": tuple(tokens),
        "insight_weight": 1.0,
        "necessity_weight": 1.0,
        "model": "demo",
        "options": {"search": "exact"},
        "forwards": n * (n + 1),
        "seconds": 3.0,
    }
    return Attribution(**(made | fields))


def made_values(tokens, regions, seed=0) -> dict:
    """Fields of values and their errors; some values are below 0, some not apart from 0."""
    rng = np.random.default_rng(seed)
    return {
        "values": rng.normal(0.02, 0.1, (tokens, regions)).astype(np.float32),
        "errors": rng.uniform(0.01, 0.06, (tokens, regions)).astype(np.float32),
        "gap": 0.0625,
        "unseen": 0.03125,
    }
