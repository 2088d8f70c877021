"""Several methods on one list, judged alike: same targets, same partition, same fill."""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32
from tqdm import tqdm

from eagle_jax.baselines.maps import pooled
from eagle_jax.baselines.methods import METHODS, chosen_method
from eagle_jax.errors import InputError, one_line
from eagle_jax.evaluation import Evaluation, evaluate
from eagle_jax.files import write_file
from eagle_jax.inputs.images import read_image
from eagle_jax.inputs.regions import segment
from eagle_jax.lists import Broken, Item
from eagle_jax.metrics.faithfulness import deletion_auc, insertion_auc
from eagle_jax.metrics.statistics import (
    Interval,
    Paired,
    bootstrap_interval,
    paired_difference,
)
from eagle_jax.results.attribution import Attribution
from eagle_jax.results.manifest import Settings
from eagle_jax.results.measures import Kind
from eagle_jax.results.run_folder import ITEMS, finished_names, read_result
from eagle_jax.run import Report, run_list
from eagle_jax.scoring.case import ask
from eagle_jax.scoring.filled import FilledScorer, require_fill
from eagle_jax.scoring.model import Model, load
from eagle_jax.search import curves_along

GRANULARITIES = ("region", "pixel", "patch")
# No method searches on these cells.
_HELD_OUT = "grid:7x7"
# As many equal shares of the pixels as the published evaluation orders.
_SHARES = 64
_JUDGED = "judged"
# What is taken from each method's own evaluation: title, measure, and which way is better.
_OWN = {
    "pointing, mask": ("mask_pointing", "higher"),
    "pointing, box": ("box_pointing", "higher"),
    "AMCR": ("correction", "lower"),
    "CSR@10%": ("success", "higher"),
}


class View(NamedTuple):
    """How explanations are judged.

    Attributes:
      partition: "region", the regions of the run; "pixel", equal shares of the pixels in the
        order of the map; "patch", about one cell for each visual token; or cells such as
        "grid:7x7".
      fill: what is shown in the place of what is hidden, see
        `eagle_jax.scoring.filled.FilledScorer`.
    """

    partition: str
    fill: str

    @property
    def folder(self) -> str:
        """A name for files."""
        return f"{self.partition}-{self.fill}".replace(":", "-")


class Column(NamedTuple):
    """One measure of all methods, over items of one kind.

    Attributes:
      title: for tables.
      better: "higher" or "lower".
      values: mean and interval of each method.
      differences: EAGLE less each other method, paired by item.
      gains: by how much EAGLE's mean is above a method's, as a share of it: the paper's form.
    """

    title: str
    better: str
    values: dict[str, Interval]
    differences: dict[str, Paired]
    gains: dict[str, float]


class Cost(NamedTuple):
    """What a method took, means over the items.

    Attributes:
      forwards: images the model saw.
      backwards: of these, how many the gradient was taken of, as the method's table says.
      seconds: that an item took, compilation included.
    """

    forwards: float
    backwards: str
    seconds: float


class Comparison(NamedTuple):
    """What `compare_methods` found.

    Attributes:
      columns: by kind of item.
      costs: by method.
      reports: what this process ran of each method.
    """

    columns: dict[Kind, list[Column]]
    costs: dict[str, Cost]
    reports: dict[str, Report]


def compare_methods(
    entries: Sequence[Item | Broken],
    out: str | os.PathLike,
    settings: Settings,
    methods: Sequence[str],
    *,
    granularity: str = "region",
    fill: str = "black",
    batch_size: int | None = None,
    together: int = 4,
    parts: int = 1,
    process: tuple[int, int] = (0, 1),
    progress: bool = False,
) -> Comparison:
    """Explains a list by several methods and judges all of them in the same way.

    Each method's run is a folder of `run_list` and goes on where it was interrupted, and so
    does the judging. Methods search with black in the place of hidden regions. They are judged
    at the granularity and with the fill that were asked for, and once more at cells and with a
    fill that none of them searched on.

    Args:
      entries: from `eagle_jax.lists.read_list`.
      out: folder of the comparison; a run of each method, and ``judged``.
      settings: of the runs; its method is not heeded.
      methods: names of `eagle_jax.methods`.
      granularity: what is inserted and deleted at a time: "region", "pixel" or "patch".
      fill: "black", "mean" or "blur".
      batch_size: see `run_list`.
      together: see `run_list`.
      parts: see `run_list`.
      process: see `run_list`; numbers are of all that has been judged so far.
      progress: show a progress bar.

    Returns:
      The measures of all methods.

    Raises:
      InputError: an argument cannot be used.

    References:
      EAGLE, arXiv 2509.22496, section 4.
    """
    out = Path(out)
    for method in methods:
        chosen_method(method)
    if not methods or len(set(methods)) < len(methods):
        raise InputError("methods must name at least one method, and none twice")
    if granularity not in GRANULARITIES:
        raise InputError(
            f"granularity is {granularity!r}; it must be one of {', '.join(GRANULARITIES)}"
        )
    require_fill(fill)
    if settings.options:
        raise InputError("methods are compared with their own options: give none")
    views = View(granularity, fill), View(_HELD_OUT, "blur" if fill != "blur" else "mean")
    reports = {
        method: run_list(
            entries,
            out / method,
            dataclasses.replace(settings, method=method),
            batch_size=batch_size,
            together=together,
            parts=parts,
            process=process,
            progress=progress,
        )
        for method in methods
    }
    own = [one.name for one in entries[process[0] :: process[1]] if isinstance(one, Item)]
    _judge_all(out, own, settings, methods, views, batch_size, progress)
    evaluations = {
        method: evaluate(out / method, published_rules=settings.published_rounding)
        for method in methods
        if _finished(out / method)
    }
    return Comparison(_columns(out, evaluations, views), _costs(out, evaluations), reports)


def _judge_all(
    out: Path,
    names: Sequence[str],
    settings: Settings,
    methods: Sequence[str],
    views: Sequence[View],
    batch_size: int | None,
    progress: bool,
) -> None:
    finished = {method: {*_finished(out / method)} for method in methods}
    waiting = [
        (method, name, view)
        for name in names
        for method in methods
        if name in finished[method]
        for view in views
        if not _judgement(out, view, method, name).exists()
    ]
    if not waiting:
        return
    model = load(settings.model, dtype=settings.dtype, quantize=settings.quantize)
    for method, name, view in tqdm(waiting, desc="judging", disable=not progress):
        result = read_result(out / method, name)
        attribution = result.attribution.with_image(read_image(result.item.image))
        values = judge(
            model,
            attribution,
            view,
            batch_size=batch_size,
            published_rounding=settings.published_rounding,
        )
        write_file(_judgement(out, view, method, name), json.dumps(values) + "\n")


def judge(
    model: Model,
    attribution: Attribution,
    view: View,
    *,
    batch_size: int | None = None,
    published_rounding: bool = False,
) -> dict[str, float]:
    """Insertion and deletion AUC of an explanation at any partition and with any fill.

    Args:
      model: that was explained.
      attribution: with its image.
      view: how it is judged.
      batch_size: masked images per forward; None chooses.
      published_rounding: see `eagle_jax.ask`.

    Returns:
      "insertion" and "deletion".

    Raises:
      InputError: the attribution was saved without its image.
    """
    if attribution.image is None:
        raise InputError("the attribution was saved without its image: see with_image")
    labels, order = _order(model, attribution, attribution.image, view.partition)
    case = ask(
        model,
        attribution.image,
        attribution.prompt,
        answer=attribution.answer_ids,
        target=attribution.target,
        target_ids=attribution.token_ids,
        regions=labels,
        batch_size=batch_size,
        published_rounding=published_rounding,
    )
    scorer = case.scorer if view.fill == "black" else FilledScorer(case, view.fill)
    curves = curves_along(scorer, order)
    pixels = np.bincount(labels.ravel())[order]
    area = np.append(0, np.cumsum(pixels)) / labels.size
    shown, removed = (c.mean(axis=1, dtype=np.float64) for c in curves[1:])
    return {
        "insertion": float(insertion_auc(area, shown)),
        "deletion": float(deletion_auc(area, removed)),
    }


def _order(
    model: Model, attribution: Attribution, image: np.ndarray, partition: str
) -> tuple[Int32[np.ndarray, "H W"], Int32[np.ndarray, "_"]]:
    """The cells of a partition, and the order in which an explanation puts them."""
    labels, saliency = attribution.labels, attribution.saliency
    if partition == "region":
        rest = np.setdiff1d(np.arange(attribution.regions), attribution.order)
        return labels, np.concatenate([attribution.order, rest]).astype(np.int32)
    if partition == "pixel":
        rank = np.empty(saliency.size, np.int64)
        rank[np.argsort(-saliency, axis=None, kind="stable")] = np.arange(saliency.size)
        shares = min(_SHARES, saliency.size)
        labels = (rank * shares // saliency.size).reshape(saliency.shape).astype(np.int32)
        return labels, np.arange(shares, dtype=np.int32)
    if partition == "patch":
        settings = model.image_settings
        frame = settings.frames(*saliency.shape)[0]
        unit = settings.patch_size * settings.merge_size
        partition = f"grid:{frame.shape[0] // unit}x{frame.shape[1] // unit}"
    labels = segment(image, partition)
    order = np.argsort(-pooled(labels, saliency), kind="stable")
    return labels, order.astype(np.int32)


def _finished(run: Path) -> list[str]:
    # A run whose items have all failed has no folder of results.
    return finished_names(run) if (run / ITEMS).is_dir() else []


def _judgement(out: Path, view: View, method: str, name: str) -> Path:
    return out / _JUDGED / view.folder / method / f"{name}.json"


def _columns(
    out: Path, evaluations: dict[str, Evaluation], views: Sequence[View]
) -> dict[Kind, list[Column]]:
    kinds = {kind: None for one in evaluations.values() for kind in one.groups}
    columns = {}
    for kind in kinds:
        rows = {
            method: {row.name: row.values for row in one.groups[kind].rows}
            for method, one in evaluations.items()
            if kind in one.groups
        }
        found = []
        for view in views:
            where = f"{view.partition}, {view.fill}"
            for what, better in (("insertion", "higher"), ("deletion", "lower")):
                values = {
                    method: {
                        name: _read(path)[what]
                        for name in items
                        if (path := _judgement(out, view, method, name)).exists()
                    }
                    for method, items in rows.items()
                }
                found.append(_column(f"{what}, {where}", better, values))
        for title, (measure, better) in _OWN.items():
            values = {
                method: {n: v[measure] for n, v in items.items() if measure in v}
                for method, items in rows.items()
            }
            if any(values.values()):
                found.append(_column(title, better, values))
        columns[kind] = found
    return columns


def _read(path: Path) -> dict[str, float]:
    with one_line(f"{path} is damaged; remove it", OSError, ValueError):
        return json.loads(path.read_text("utf-8"))


def _column(title: str, better: str, values: dict[str, dict[str, float]]) -> Column:
    intervals = {
        method: bootstrap_interval(np.array([*items.values()], np.float64))
        for method, items in values.items()
    }
    differences, gains = {}, {}
    ours = values.get("eagle", {})
    for method, theirs in values.items():
        common = sorted(ours.keys() & theirs.keys())
        if method != "eagle" and common:
            first, second = (np.array([v[n] for n in common]) for v in (ours, theirs))
            differences[method] = paired_difference(first, second)
            mean = second.mean()
            gains[method] = float((first.mean() - mean) / mean) if mean else np.nan
    return Column(title, better, intervals, differences, gains)


def _costs(out: Path, evaluations: dict[str, Evaluation]) -> dict[str, Cost]:
    costs = {}
    for method in evaluations:
        found = [read_result(out / method, n).attribution for n in _finished(out / method)]
        costs[method] = Cost(
            float(np.mean([one.forwards for one in found])),
            METHODS[method].backwards,
            float(np.mean([one.seconds for one in found])),
        )
    return costs
