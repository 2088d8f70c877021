"""How explanations are judged: insertion and deletion AUC for any partition and any fill."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int32
from tqdm import tqdm

from eagle_jax.argument_types import checked
from eagle_jax.errors import one_line
from eagle_jax.files import write_file
from eagle_jax.inputs.regions import segment
from eagle_jax.metrics.faithfulness import deletion_auc, insertion_auc
from eagle_jax.metrics.localisation import region_means
from eagle_jax.results.attribution import Attribution
from eagle_jax.results.manifest import Settings
from eagle_jax.results.run_folder import finished_names, read_result
from eagle_jax.scoring.case import ask
from eagle_jax.scoring.model import Model, load
from eagle_jax.search import curves_along

GRANULARITIES = ("region", "pixel", "patch")
# Partitions that no method searches on, by which maps are judged.
HELD_OUT = ("grid:7x7", "grid:9x9", "pixel:10", "voronoi:49")
# Number of groups of pixels in the published evaluation.
_GROUPS = 64
_JUDGED = "judged"


@checked
class Perturbation(NamedTuple):
    """What is inserted and deleted, step by step, to judge an explanation.

    Attributes:
      partition: "region", the regions of the run, in the order that the method found; or what
        the map puts in order: "pixel", 64 equal groups of pixels, or "pixel:10", ten; "patch",
        about one cell for each visual token; a grid such as "grid:7x7"; or "voronoi:49", the
        cells nearest to 49 random points.
      fill: what is shown in place of hidden regions: "black", "mean" or "blur".
    """

    partition: str
    fill: str

    @property
    def folder(self) -> str:
        """Name of the folder with its results."""
        return f"{self.partition}-{self.fill}".replace(":", "-")


def judge_all(
    out: Path,
    names: Sequence[str],
    settings: Settings,
    methods: Sequence[str],
    perturbations: Sequence[Perturbation],
    *,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
    progress: bool = False,
) -> None:
    """Judges every finished item of every method that has not been judged yet.

    Args:
      out: folder of the comparison, which holds a run of each method and the results.
      names: names of items; unfinished items are skipped.
      settings: settings of the runs.
      methods: names of the methods to judge.
      perturbations: how each explanation is judged.
      batch_size: masked images per batch; None chooses.
      mesh: devices of the model, as in `eagle_jax.load`.
      progress: show a progress bar.
    """
    explained = {method: {*finished_names(out / method)} for method in methods}
    waiting = [
        (method, name, perturbation)
        for name in names
        for method in methods
        if name in explained[method]
        for perturbation in perturbations
        if not _file(out, perturbation, method, name).exists()
    ]
    if not waiting:
        return
    model = load(
        settings.model,
        backend=settings.backend,
        dtype=settings.dtype,
        mesh=mesh,
        quantize=settings.quantize,
        min_pixels=settings.min_pixels,
        max_pixels=settings.max_pixels,
    )
    for method, name, perturbation in tqdm(waiting, desc="judging", disable=not progress):
        values = judge(
            model,
            read_result(out / method, name).with_image(),
            perturbation,
            batch_size=batch_size,
            published_rounding=settings.published_rounding,
            system=settings.system,
            thinking=settings.thinking,
        )
        write_file(_file(out, perturbation, method, name), json.dumps(values) + "\n")


@checked
def judge(
    model: Model,
    attribution: Attribution,
    perturbation: Perturbation,
    *,
    batch_size: int | None = None,
    published_rounding: bool = False,
    system: str | None = None,
    thinking: str | None = None,
) -> dict[str, float]:
    """Insertion and deletion AUC of an explanation for any partition and any fill.

    Args:
      model: the model that was explained.
      attribution: the explanation, with its image.
      perturbation: what is inserted and deleted at each step.
      batch_size: masked images per batch; None chooses.
      published_rounding: round as the published code does, as in `eagle_jax.ask`.
      system: system message with which the question was asked.
      thinking: "off" or "on" if the question was asked with the template's switch for thoughts.

    Returns:
      The two areas under "insertion" and "deletion".

    Raises:
      InputError: the attribution was saved without its image.
    """
    image = attribution.require_image()
    labels, order = _order(model, attribution, image, perturbation.partition)
    case = ask(
        model,
        image,
        attribution.prompt,
        answer=attribution.answer_ids,
        target=attribution.positions,
        target_ids=attribution.token_ids,
        regions=labels,
        fill=perturbation.fill,
        batch_size=batch_size,
        published_rounding=published_rounding,
        system=system,
        thinking=thinking,
    )
    curves = curves_along(case.scorer, order)
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
    labels, saliency = attribution.labels, attribution.map()
    if partition == "region":
        rest = np.setdiff1d(np.arange(attribution.regions), attribution.order)
        return labels, np.concatenate([attribution.order, rest]).astype(np.int32)
    form, _, count = partition.partition(":")
    if form == "pixel":
        rank = np.empty(saliency.size, np.int64)
        rank[np.argsort(-saliency, axis=None, kind="stable")] = np.arange(saliency.size)
        groups = min(int(count or _GROUPS), saliency.size)
        labels = (rank * groups // saliency.size).reshape(saliency.shape).astype(np.int32)
        return labels, np.arange(groups, dtype=np.int32)
    if partition == "patch":
        settings = model.image_settings
        frame = settings.frames(*saliency.shape)[0]
        unit = settings.patch_size * settings.merge_size
        partition = f"grid:{frame.shape[0] // unit}x{frame.shape[1] // unit}"
    labels = _voronoi(image, int(count)) if form == "voronoi" else segment(image, partition)
    order = np.argsort(-region_means(labels, saliency), kind="stable")
    return labels, order.astype(np.int32)


def _voronoi(image: np.ndarray, count: int) -> Int32[np.ndarray, "H W"]:
    """For each pixel the nearest of some random points, the same for every image of a size."""
    from scipy.spatial import KDTree

    shape = image.shape[:2]
    points = np.random.default_rng(0).random((count, 2)) * shape
    pixels = np.indices(shape).reshape(2, -1).T + 0.5
    nearest = np.asarray(KDTree(points).query(pixels)[1])
    return segment(image, nearest.reshape(shape))


def judgement(
    out: Path, perturbation: Perturbation, method: str, name: str
) -> dict[str, float] | None:
    """Result of `judge_all` for an item of a method; None where it has not been judged.

    Raises:
      InputError: the file is damaged.
    """
    path = _file(out, perturbation, method, name)
    if not path.exists():
        return None
    with one_line(f"{path} is damaged; remove it", OSError, ValueError, RecursionError):
        values = json.loads(path.read_text("utf-8"))
        areas = isinstance(values, dict) and values.keys() == {"insertion", "deletion"}
        if not areas or not all(type(value) is float for value in values.values()):
            raise ValueError("it must hold the two areas under curves")
        return values


def _file(out: Path, perturbation: Perturbation, method: str, name: str) -> Path:
    return out / _JUDGED / perturbation.folder / method / f"{name}.json"
