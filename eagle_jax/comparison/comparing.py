"""Several methods run on one list, and judged."""

import dataclasses
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from eagle_jax.baselines.methods import chosen_method
from eagle_jax.comparison.columns import Column, Cost, columns_of, costs_of
from eagle_jax.comparison.judging import GRANULARITIES, HELD_OUT, View, finished, judge_all
from eagle_jax.errors import InputError
from eagle_jax.evaluation import evaluate
from eagle_jax.files import write_file
from eagle_jax.inputs.images import read_image
from eagle_jax.lists import Broken, Item
from eagle_jax.results.manifest import Settings
from eagle_jax.results.measures import Kind
from eagle_jax.results.run_folder import read_result
from eagle_jax.run import RunSummary, own_mesh, run_list
from eagle_jax.scoring.filled import require_fill

# Items whose maps are drawn.
FIGURES = 4


class Comparison(NamedTuple):
    """What `compare_methods` found.

    Attributes:
      columns: by kind of item.
      costs: by method.
      summaries: what this process ran of each method.
    """

    columns: dict[Kind, list[Column]]
    costs: dict[str, Cost]
    summaries: dict[str, RunSummary]


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
    split_weights: int = 1,
    process: tuple[int, int] = (0, 1),
    progress: bool = False,
) -> Comparison:
    """Explains a list by several methods and judges all of them in the same way.

    Each method's run is a folder of `run_list` and goes on where it was interrupted, and so
    does the judging. The maps of the first items are drawn side by side. Methods search with
    black in the place of hidden regions. They are judged at the granularity and with the fill
    that were asked for, and once more at cells and with a fill that none of them searched on.

    Args:
      entries: from `eagle_jax.lists.read_list`.
      out: folder of the comparison; a run of each method, ``judged``, and ``figures``.
      settings: of the runs; its method is not heeded.
      methods: names of `eagle_jax.methods`.
      granularity: what is inserted and deleted at a time: "region", "pixel" or "patch".
      fill: "black", "mean" or "blur".
      batch_size: see `run_list`.
      together: see `run_list`.
      split_weights: see `run_list`.
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
    views = View(granularity, fill), View(HELD_OUT, "blur" if fill != "blur" else "mean")
    summaries = {
        method: run_list(
            entries,
            out / method,
            dataclasses.replace(settings, method=method),
            batch_size=batch_size,
            together=together,
            split_weights=split_weights,
            process=process,
            progress=progress,
        )
        for method in methods
    }
    own = [one.name for one in entries[process[0] :: process[1]] if isinstance(one, Item)]
    judge_all(
        out,
        own,
        settings,
        methods,
        views,
        batch_size=batch_size,
        mesh=own_mesh(split_weights),
        progress=progress,
    )
    _draw(out, own[:FIGURES], methods)
    evaluations = {
        method: evaluate(out / method, published_rules=settings.published_rounding)
        for method in methods
        if finished(out / method)
    }
    return Comparison(
        columns_of(out, evaluations, views), costs_of(out, evaluations), summaries
    )


def _draw(out: Path, names: Sequence[str], methods: Sequence[str]) -> None:
    # matplotlib is slow to import, and this module is imported with the package's names.
    from eagle_jax.reports.comparison_figure import draw_comparison

    explained = {method: {*finished(out / method)} for method in methods}
    for name in names:
        path = out / "figures" / f"{name}.png"
        own = [method for method in methods if name in explained[method]]
        if path.exists() or not own:
            continue
        results = {method: read_result(out / method, name) for method in own}
        figure = draw_comparison(
            {
                method: one.attribution.with_image(read_image(one.item.image))
                for method, one in results.items()
            }
        )
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
        write_file(path, picture.getvalue())
