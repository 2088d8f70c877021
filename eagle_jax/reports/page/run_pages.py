"""The pages of a run: an index of all items, and a page for each."""

import io
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

from eagle_jax.errors import InputError, reason
from eagle_jax.evaluation import Evaluation, evaluate
from eagle_jax.files import new_folder, require_writable
from eagle_jax.metrics.hallucination import yes_or_no
from eagle_jax.metrics.statistics import Interval
from eagle_jax.reports.page.document import document
from eagle_jax.reports.page.findings import Finding, mapped_picture, of_result, packed
from eagle_jax.reports.page.report import page
from eagle_jax.results.measures import MEASURES, Row
from eagle_jax.results.run_folder import Result, read_result

INDEX, PAGES, THUMBNAILS = "index.html", "items", "thumbnails"
# Longest side of a thumbnail in pixels, and of a text in the index in characters.
_THUMBNAIL, _TEXT = 112, 240


class Entry(NamedTuple):
    """A line of the index.

    Attributes:
      name: of the item.
      kind: "word", "sentence" or "presence", or "failure" of an item without a result.
      prompt: the question, cut.
      answer: the answer, cut.
      wrong: whether the answer to a question by Yes or No is wrong; None where that is not
        known.
      problem: why there is no page of it; empty where there is one.
      values: its measures by name.
    """

    name: str
    kind: str
    prompt: str = ""
    answer: str = ""
    wrong: bool | None = None
    problem: str = ""
    values: dict[str, float] = {}


def report_run(
    run: str | os.PathLike, out: str | os.PathLike, progress: bool = False
) -> list[Entry]:
    """Writes a folder of pages about a run: index.html, and a page and a thumbnail an item.

    Args:
      run: folder of the run.
      out: folder of the pages; missing, empty, or with earlier pages, which are replaced.
      progress: show a progress bar.

    Returns:
      The lines of the index; one with a ``problem`` has no page.

    Raises:
      InputError: the run holds no result that can be read, or the folder holds something
        else or cannot be written.
    """
    run, out = Path(run), Path(out)
    _require_room(out)
    evaluation = evaluate(run, progress=progress)
    rows = [row for group in evaluation.groups.values() for row in group.rows]
    with new_folder(out) as folder:
        (folder / PAGES).mkdir()
        (folder / THUMBNAILS).mkdir()
        entries = [
            _write_item(run, row, folder)
            for row in tqdm(rows, unit="page", desc="pages", disable=not progress)
        ]
        for name, why in (*evaluation.damaged, *evaluation.failed):
            entries.append(Entry(name, "failure", problem=_cut(why)))
        content = index_page(f"{run.resolve().name}", entries, _means(evaluation))
        (folder / INDEX).write_bytes(content)
    return entries


def index_page(name: str, entries: Iterable[Entry], means: list[dict[str, Any]]) -> bytes:
    """The index: one file that refers to the pages and thumbnails beside it.

    Args:
      name: of the run.
      entries: its items.
      means: mean and interval of each measure, by kind of item.
    """
    entries = list(entries)
    columns = {
        key: packed(np.array([one.values.get(key, math.nan) for one in entries]), "<f4")
        for key in MEASURES
        if any(key in one.values for one in entries)
    }
    data = {
        "name": name,
        "names": [one.name for one in entries],
        "links": [quote(os.fsencode(one.name)) for one in entries],
        "kinds": [one.kind for one in entries],
        "prompts": [one.prompt for one in entries],
        "answers": [one.answer for one in entries],
        "wrong": [one.wrong for one in entries],
        "problems": [one.problem for one in entries],
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
        scripts=("elements.js", "finding.js", "index.js"),
        styles=("colours.css", "index.css"),
        # Not every browser counts the folder of a file from disk as its own site.
        policy="img-src 'self' file: data:",
    )


def _write_item(run: Path, row: Row, folder: Path) -> Entry:
    result = read_result(run, row.name)
    answer = result.attribution.answer
    entry = Entry(
        name=row.name,
        kind=row.kind,
        prompt=_cut(row.prompt),
        answer=_cut(answer),
        wrong=_is_wrong(result),
        values=row.values,
    )
    try:
        finding = of_result(result)
    except InputError as error:
        return entry._replace(problem=reason(error, _TEXT))
    (folder / PAGES / f"{row.name}.html").write_bytes(page([finding]))
    (folder / THUMBNAILS / f"{row.name}.jpg").write_bytes(_thumbnail(finding))
    return entry


def _is_wrong(result: Result) -> bool | None:
    label = yes_or_no(result.item.label or "")
    return None if label is None else yes_or_no(result.attribution.answer) != label


def _thumbnail(finding: Finding) -> bytes:
    content = io.BytesIO()
    picture = mapped_picture(finding.attribution, _THUMBNAIL)
    Image.fromarray(picture).save(content, format="jpeg", quality=80)
    return content.getvalue()


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
    """The interval; nothing where a single item has none."""
    return [value.low, value.high] if math.isfinite(value.low) else []


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "\u2026"


def _require_room(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"cannot write {out}: it is a file; choose a new folder")
    held = {path.name for path in out.iterdir()} if out.exists() else set()
    if held and (INDEX not in held or held - {INDEX, PAGES, THUMBNAILS}):
        raise InputError(f"cannot write {out}: it holds other files; choose a new folder")
    require_writable(out.resolve().parent)
