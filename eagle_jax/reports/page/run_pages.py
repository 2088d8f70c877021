"""The pages of a run: an index of all items, and a page for each."""

import math
import os
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from PIL import Image
from tqdm import tqdm

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError, reason
from eagle_jax.files import encoded, local_path, new_folder, require_writable
from eagle_jax.metrics.hallucination import yes_or_no
from eagle_jax.metrics.statistics import Interval
from eagle_jax.reports.page.document import document
from eagle_jax.reports.page.explanations import Explanation, explanation_of
from eagle_jax.reports.page.page_data import mapped_image, packed
from eagle_jax.reports.page.report import page_bytes
from eagle_jax.results.evaluation import Evaluation, evaluate
from eagle_jax.results.measures import MEASURES, ItemMeasures
from eagle_jax.results.run_folder import ItemResult, read_result

INDEX, PAGES, THUMBNAILS = "index.html", "items", "thumbnails"
# Longest side of a thumbnail in pixels, and of a text in the index in characters.
_THUMBNAIL, _TEXT = 112, 240


class IndexEntry(NamedTuple):
    """A line of the index.

    Attributes:
      name: name of the item.
      kind: "word", "sentence" or "presence", or "failure" for an item without a result.
      prompt: start of the question.
      answer: start of the answer.
      wrong: whether the answer to a question by Yes or No is wrong; None if that is not known.
      problem: why the item has no page; empty if it has a page.
      values: measures of the item, by name.
    """

    name: str
    kind: str
    prompt: str = ""
    answer: str = ""
    wrong: bool | None = None
    problem: str = ""
    values: dict[str, float] = {}


@checked
def report_run(
    run: str | os.PathLike, out: str | os.PathLike, progress: bool = False
) -> list[IndexEntry]:
    """Writes pages about a run: index.html, and for each item a page and a thumbnail.

    Args:
      run: folder of the run.
      out: folder of the pages: missing, empty, or with earlier pages, which are replaced.
      progress: show a progress bar.

    Returns:
      The lines of the index; an item whose line has a ``problem`` has no page.

    Raises:
      InputError: the run holds no result that can be read, or the folder of the pages holds
        something else or cannot be written.
    """
    run, out = local_path(run), local_path(out)
    _require_free(out)
    evaluation = evaluate(run, progress=progress)
    with new_folder(out) as folder:
        (folder / PAGES).mkdir()
        (folder / THUMBNAILS).mkdir()
        entries = [
            _write_item(run, row, folder)
            for row in tqdm(evaluation.rows, unit="page", desc="pages", disable=not progress)
        ]
        for name, why in (*evaluation.damaged, *evaluation.failed):
            entries.append(IndexEntry(name, "failure", problem=_cut(why)))
        content = index_page(f"{run.resolve().name}", entries, _means(evaluation))
        (folder / INDEX).write_bytes(content)
    return entries


def index_page(name: str, entries: Iterable[IndexEntry], means: list[dict[str, Any]]) -> bytes:
    """The index: one file that refers to the pages and thumbnails beside it.

    Args:
      name: name of the run.
      entries: lines of the index.
      means: mean and interval of each measure, for each kind of item.
    """
    entries = list(entries)
    columns = {
        key: packed(np.array([entry.values.get(key, math.nan) for entry in entries]), "<f4")
        for key in MEASURES
        if any(key in entry.values for entry in entries)
    }
    data = {
        "name": name,
        "names": [entry.name for entry in entries],
        "links": [quote(os.fsencode(entry.name)) for entry in entries],
        "kinds": [entry.kind for entry in entries],
        "prompts": [entry.prompt for entry in entries],
        "answers": [entry.answer for entry in entries],
        "wrong": [entry.wrong for entry in entries],
        "problems": [entry.problem for entry in entries],
        "measures": [
            {"key": key, "title": MEASURES[key].title, "better": MEASURES[key].better}
            for key in columns
        ],
        "columns": columns,
        "means": means,
    }
    return document(
        title=f"{name}: {len(entries)} items",
        body=f"<main></main><noscript><h1>{escape(name)}</h1><p>The pages of the items are in "
        f"the folder {PAGES}; this list of them needs scripts switched on.</p></noscript>",
        data=data,
        scripts=("elements.js", "explanation.js", "index.js"),
        styles=("colours.css", "index.css"),
        # Not every browser counts the folder of a file from disk as its own site.
        policy="img-src 'self' file: data:",
    )


def _write_item(run: Path, row: ItemMeasures, folder: Path) -> IndexEntry:
    result = read_result(run, row.name)
    answer = result.attribution.answer
    entry = IndexEntry(
        name=row.name,
        kind=row.kind,
        prompt=_cut(row.prompt),
        answer=_cut(answer),
        wrong=_is_wrong(result),
        values=row.values,
    )
    try:
        explanation = explanation_of(result)
    except InputError as error:
        return entry._replace(problem=reason(error, _TEXT))
    (folder / PAGES / f"{row.name}.html").write_bytes(page_bytes([explanation]))
    (folder / THUMBNAILS / f"{row.name}.jpg").write_bytes(_thumbnail(explanation))
    return entry


def _is_wrong(result: ItemResult) -> bool | None:
    label = yes_or_no(result.item.label or "")
    return None if label is None else yes_or_no(result.attribution.answer) != label


def _thumbnail(explanation: Explanation) -> bytes:
    image = Image.fromarray(mapped_image(explanation.attribution, _THUMBNAIL))
    return encoded(image.save, format="jpeg", quality=80)


def _means(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [
        {
            "kind": kind,
            "items": len(group.rows),
            "measures": {
                name: [value.mean, *_ends(value)]
                for name, value in group.measures.items()
                if math.isfinite(value.mean)
            },
        }
        for kind, group in evaluation.groups.items()
    ]


def _ends(value: Interval) -> list[float]:
    """The bounds of the interval, which a single item does not have."""
    return [value.low, value.high] if math.isfinite(value.low) else []


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "\u2026"


def _require_free(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"cannot write {out}: it is a file; choose a new folder")
    held = {path.name for path in out.iterdir()} if out.exists() else set()
    if held and (INDEX not in held or held - {INDEX, PAGES, THUMBNAILS}):
        raise InputError(f"cannot write {out}: it holds other files; choose a new folder")
    require_writable(out.resolve().parent)
