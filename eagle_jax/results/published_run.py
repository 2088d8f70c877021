"""A whole run in the file layout of the published evaluation and drawing scripts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError
from eagle_jax.results.published import special_as_empty, to_eagle
from eagle_jax.results.run_folder import ItemResult, read_results


@checked
def export_run(out: Path, folder: Path) -> int:
    """Writes every result of a run as `to_eagle` does, with the fields of its list.

    Items with a box or an object mask get the fields of the published object lists, items with
    a label and regenerated answers the fields of RePOPE.

    Args:
      out: folder of the run.
      folder: receives folders `json` and `npy`, where files of the same name are replaced. The
        published pointing game expects "interpretation_results" in the path.

    Returns:
      The number of results.

    Raises:
      InputError: there is no run, a result is damaged, answers were found by bisection (the
        published layout needs an answer at every step), or the folder cannot be written.
    """
    count = 0
    for result in read_results(out):
        extra = _object_fields(result) | _question_fields(result)
        to_eagle(result.attribution, folder, result.item.name, extra)
        count += 1
    if not count:
        raise InputError(f"{out} holds no finished results yet")
    return count


def _object_fields(result: ItemResult) -> dict[str, Any]:
    item, attribution = result.item, result.attribution
    outlines = [list(polygon) for polygon in item.polygons]
    if not outlines and result.mask is not None:
        outlines = _runs(result.mask)
    if not item.boxes and not outlines:
        return {}
    box = item.boxes[0] if item.boxes else _bounds(outlines)
    return {
        "words": special_as_empty(attribution.tokens[0]),
        "select_category": item.category or attribution.tokens[0].strip(),
        "location": list(box),
        "segmentation": outlines,
        "output_word_id": attribution.answer_ids.tolist(),
        "output_words": [special_as_empty(word) for word in attribution.answer_tokens],
    }


def _question_fields(result: ItemResult) -> dict[str, Any]:
    item, answers = result.item, result.answers
    if item.label is None or answers is None:
        return {}
    if None in answers:
        raise InputError(
            f"{item.name}: answers were found by bisection, but the published layout needs an "
            "answer at every step: run again with --regenerate scan"
        )
    return {
        "question": item.prompt,
        "label": item.label.lower(),
        "counter_word_id": result.attribution.token_ids.tolist(),
        "id": item.name,
        # The published scan does not ask about the blank image.
        "revised_answering": list(answers[1:]),
    }


def _runs(mask: np.ndarray) -> list[list[float]]:
    """A mask as flat polygons, one for each run of pixels in a row, which fill its pixels."""
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, first = np.nonzero(edges == 1)
    _, end = np.nonzero(edges == -1)
    return [
        [float(value) for value in (x0, y, x1 - 1, y, x1 - 1, y)]
        for y, x0, x1 in zip(rows.tolist(), first.tolist(), end.tolist(), strict=True)
    ]


def _bounds(outlines: Sequence[Sequence[float]]) -> list[int]:
    points = np.concatenate([np.reshape(outline, (-1, 2)) for outline in outlines])
    first, last = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    return [int(value) for value in (*first, *(last + 1))]
