"""Several methods run on one list, and judged."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from eagle_jax.argument_types import checked
from eagle_jax.baselines.options import method_with_options
from eagle_jax.comparison.columns import Column, Cost, columns_of, costs_of
from eagle_jax.comparison.judging import (
    GRANULARITIES,
    HELD_OUT,
    Perturbation,
    judge_all,
)
from eagle_jax.errors import InputError, require_choice
from eagle_jax.explaining import RunSummary, local_mesh, run_list
from eagle_jax.explaining.loop import DEFAULT_TOGETHER
from eagle_jax.explaining.ranking import Approach, check_approach
from eagle_jax.files import encoded, local_path, write_file
from eagle_jax.inputs.fill import FILLS
from eagle_jax.lists import Broken, Item
from eagle_jax.results.evaluation import evaluate
from eagle_jax.results.manifest import Settings
from eagle_jax.results.measures import Kind
from eagle_jax.results.run_folder import finished_names, read_result

# Number of items whose maps are drawn.
FIGURES = 4


class Comparison(NamedTuple):
    """Result of `compare_methods`.

    Attributes:
      columns: measures of all methods, by kind of item.
      costs: forwards and seconds of an item, by method.
      summaries: what this process did in the run of each method.
    """

    columns: dict[Kind, list[Column]]
    costs: dict[str, Cost]
    summaries: dict[str, RunSummary]


@checked
def compare_methods(
    entries: Sequence[Item | Broken],
    out: str | os.PathLike,
    settings: Settings,
    methods: Sequence[str],
    *,
    granularity: str = "region",
    fill: str | None = None,
    batch_size: int | None = None,
    together: int = DEFAULT_TOGETHER,
    split_weights: int = 1,
    process: tuple[int, int] = (0, 1),
    progress: bool = False,
) -> Comparison:
    """Explains a list by several methods and judges all of them in the same way.

    Each method's run is a folder of `run_list`; runs and judging resume after an interruption.
    Explanations are judged at the given granularity and fill, and again on partitions on which
    no method searched: the cells of a 7 x 7 and of a 9 x 9 grid with other fills, tenths of the
    pixels, and random Voronoi cells. On the regions themselves the order is judged, on all
    other partitions the map. The maps of the first items are drawn side by side.

    Args:
      entries: from `eagle_jax.lists.read_list`.
      out: folder of the comparison; receives a run of each method, ``judged`` and ``figures``.
      settings: settings of the runs; `settings.method` is ignored.
      methods: names of `eagle_jax.methods`, with options where they are not the defaults:
        "kernelshap@samples=256".
      granularity: what a step inserts or deletes: "region", "pixel" or "patch".
      fill: what judging shows in place of hidden regions: "black", "mean" or "blur"; None for
        the fill of the runs, `settings.fill`.
      batch_size: masked images per batch, as in `run_list`.
      together: number of items that are explained at once, as in `run_list`.
      split_weights: number of devices that share one copy of the weights.
      process: index of this process and number of processes.
      progress: show a progress bar.

    Returns:
      The measures of all methods, over the items judged so far by any process.

    Raises:
      InputError: an argument cannot be used.

    References:
      EAGLE, arXiv 2509.22496, section 4.
    """
    out = local_path(out)
    _check(methods, settings)
    perturbations = _perturbations(granularity, settings.fill, fill)
    summaries = {
        method: run_list(
            entries,
            out / method,
            _settings_for(method, settings),
            batch_size=batch_size,
            together=together,
            split_weights=split_weights,
            process=process,
            progress=progress,
        )
        for method in methods
    }
    names = [
        entry.name for entry in entries[process[0] :: process[1]] if isinstance(entry, Item)
    ]
    judge_all(
        out,
        names,
        settings,
        methods,
        perturbations,
        batch_size=batch_size,
        mesh=local_mesh(split_weights),
        progress=progress,
    )
    _draw(out, names[:FIGURES], methods)
    evaluations = {
        method: evaluate(out / method, published_measures=settings.published_rounding)
        for method in methods
        if finished_names(out / method)
    }
    return Comparison(
        columns_of(out, evaluations, perturbations), costs_of(out, evaluations), summaries
    )


def _check(methods: Sequence[str], settings: Settings) -> None:
    for method in methods:
        check_approach(Approach(*method_with_options(method)))
    if not methods or len(set(methods)) < len(methods):
        raise InputError(f"methods is {list(methods)}; name at least one method, each once")
    if settings.options:
        raise InputError("options belong to one method each: write kernelshap@samples=256")


def _perturbations(granularity: str, searched: str, fill: str | None) -> list[Perturbation]:
    """The given perturbation, and those on which no method searched."""
    require_choice("granularity", granularity, GRANULARITIES)
    fill = searched if fill is None else fill
    require_choice("the fill of the judging", fill, FILLS)
    unused = [name for name in ("blur", "mean", "black") if name not in (fill, searched)]
    fills = unused[0], unused[-1], fill, fill
    held_out = map(Perturbation, HELD_OUT, fills)
    return [Perturbation(granularity, fill), *held_out]


def _settings_for(method: str, settings: Settings) -> Settings:
    """The settings of a method's run; limits and partitions of a search are for EAGLE alone."""
    name, options = method_with_options(method)
    if name != "eagle":
        settings = dataclasses.replace(
            settings, budget=None, seconds=None, top_k=None, stop=None, partitions=1
        )
    return dataclasses.replace(settings, method=name, options=options)


def _draw(out: Path, names: Sequence[str], methods: Sequence[str]) -> None:
    # matplotlib is slow to import, and this module is imported with the package's names.
    from eagle_jax.reports.comparison_figure import draw_comparison

    explained = {method: {*finished_names(out / method)} for method in methods}
    for name in names:
        path = out / "figures" / f"{name}.png"
        finished_methods = [method for method in methods if name in explained[method]]
        if path.exists() or not finished_methods:
            continue
        figure = draw_comparison(
            {
                method: read_result(out / method, name).with_image()
                for method in finished_methods
            }
        )
        write_file(path, encoded(figure.savefig, format="png"))
